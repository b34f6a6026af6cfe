"""What every answer of the console says beside itself: who answered, and which replicas did not."""

from __future__ import annotations

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.remote import headers
from app.web.ledgers import Ledgers, missing_of


class Telling:
    """Adds to each answer the headers by which other replicas, and callers of the API, know what it is made of."""

    def __init__(self, app: ASGIApp, ledgers: Ledgers) -> None:
        self._app = app
        self._ledgers = ledgers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = MutableHeaders(scope=message)
                if self._ledgers.instance:
                    told[headers.INSTANCE] = self._ledgers.instance
                if missing := missing_of(state.get("ledger")):
                    told[headers.MISSING] = headers.written_missing(missing)
            await send(message)

        await self._app(scope, receive, tell)
