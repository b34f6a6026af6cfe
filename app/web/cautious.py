"""What every answer of the console says to browsers and proxies, whoever made it: errors and files as well as pages."""

from __future__ import annotations

from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from app.remote.headers import NARROWED

_CAUTION: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Nobody keeps an answer, as the next one to ask may be somebody else, and no browser takes it for a page."""


def cautious(send: Send, *, is_narrowed: bool = False) -> Send:
    """Return what sends answers with all of this that they do not say otherwise themselves.

    With `is_narrowed` they tell that they keep to the namespaces that the request names.
    """
    told = {**_CAUTION, **({NARROWED: "true"} if is_narrowed else {})}

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(raw=list(message["headers"]))
            for name, value in told.items():
                headers.setdefault(name, value)
            message = {**message, "headers": headers.raw}
        await send(message)

    return sending
