"""Receivers on loopback for the contract of all sinks: each speaks its receiver's protocol, and does as it is told.

A sink's test module says what its receiver answers. For an HTTP receiver that is

    SUCCESS = {"json": {"ok": True}}            # keywords of httpx.Response; by default 204 without a body
    BUSY = {"status_code": 429, ...}            # by default 429 with Retry-After: 7
    REFUSED = {"status_code": 400, ...}         # by default 400 with a sentence
    def at(url: str) -> dict[str, Any]          # the options that lead to the receiver, such as {"api_url": url}

and for any other an asynchronous context manager `stand(folder)` that yields a `Stand`.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import httpx
from typing_extensions import override

from app.sinks.base import Sink
from app.sinks.registry import SINKS
from tests.servers import Answering, Listening

Behaviour = Literal["take", "busy", "refuse", "hang"]

SUCCESS: dict[str, Any] = {"status_code": 204}
BUSY: dict[str, Any] = {"status_code": 429, "headers": {"retry-after": "7"}, "text": "slow down"}
REFUSED: dict[str, Any] = {"status_code": 400, "text": "this is not what we take"}


class Stand(Protocol):
    """A sink with its receiver; `arrived` is all that the receiver has got, as text."""

    sink: Sink[Any]
    arrived: list[str]

    def behave(self, how: Behaviour) -> None:
        """Have the receiver take what comes, be busy, refuse it, or not answer at all."""


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Request], httpx.Response | None]
"""Returns the answer, or None to give none until the server ends."""


@dataclass
class HttpReceiver:
    """A real HTTP server that answers what `handler` says."""

    handler: Handler
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def take(self, request: Request) -> httpx.Response | None:
        self.requests.append(request)
        answer = self.handler(request)
        if answer is None:
            self.ended.wait()
        return answer


@contextlib.contextmanager
def http_receiver(handler: Handler) -> Iterator[HttpReceiver]:
    """Serve on loopback inside the `with` block."""
    receiver = HttpReceiver(handler)

    class Serving(Answering):
        @override
        def posted(self, body: bytes) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            response = receiver.take(Request(self.command, self.path, headers, body))
            if response is None:
                self.close_connection = True
                return
            kept = {k.replace("-", "_"): v for k, v in response.headers.items() if k != "content-length"}
            self.answer(response.status_code, response.content, **kept)

        def do_PUT(self) -> None:  # noqa: N802  as http.server names it
            self.do_POST()

        def do_PATCH(self) -> None:  # noqa: N802  as http.server names it
            self.do_POST()

        def do_GET(self) -> None:  # noqa: N802  as http.server names it
            self.posted(b"")

    with Listening(Serving) as server:
        receiver.url = f"http://127.0.0.1:{server.port}/"
        try:
            yield receiver
        finally:
            receiver.ended.set()


class HttpStand:
    """The stand of a sink with an HTTP receiver, made from what its test module says."""

    def __init__(self, module: Any) -> None:
        self.sink: Sink[Any]
        self.arrived: list[str] = []
        self._how: Behaviour = "take"
        self._answers = {
            "take": {"status_code": 200, **getattr(module, "SUCCESS", SUCCESS)},
            "busy": getattr(module, "BUSY", BUSY),
            "refuse": getattr(module, "REFUSED", REFUSED),
        }

    def behave(self, how: Behaviour) -> None:
        self._how = how

    def handle(self, request: Request) -> httpx.Response | None:
        self.arrived.append(request.body.decode(errors="replace"))
        return None if self._how == "hang" else httpx.Response(**self._answers[self._how])


@contextlib.asynccontextmanager
async def stand_of(key: str, module: Any, folder: Path) -> AsyncIterator[Stand]:
    """Return the stand that the sink's test module describes."""
    if hasattr(module, "stand"):
        async with module.stand(folder) as own:
            yield own
        return
    stand = HttpStand(module)
    with http_receiver(stand.handle) as receiver:
        options = {"name": "here", **module.options(folder), "timeout_seconds": 5, **module.at(receiver.url)}
        stand.sink = SINKS[key](SINKS[key].Config.model_validate(options))
        try:
            yield stand
        finally:
            await stand.sink.aclose()
