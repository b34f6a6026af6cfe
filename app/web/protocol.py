"""HTTP as uvicorn reads it, with an end to what is neither body nor yet a whole head."""

from __future__ import annotations

from typing import Final

from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST: Final = 1024 * 1024
"""Bytes of a request line, headers or trailers, as Go's net/http allows. More than any one read from a connection."""


class BoundedProtocol(HttpToolsProtocol):
    """Ends a connection whose headers have no end, which the parser would gather in memory for as long as they come."""

    _gathered = 0

    @override
    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._gathered += len(data)
        if self._gathered > MOST and not self.transport.is_closing():
            # Not closed: TLS would go on reading for half a minute, while it waits for the other side's goodbye.
            self.transport.abort()

    @override
    def on_message_begin(self) -> None:
        self._gathered = 0
        super().on_message_begin()

    @override
    def on_body(self, body: bytes) -> None:
        self._gathered = 0
        super().on_body(body)
