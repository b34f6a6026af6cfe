"""A receiver for the webhook sink of a program under test."""

from __future__ import annotations

import threading
from typing import Any

import msgspec
from typing_extensions import override

from tests.servers import Answering, Listening

Document = dict[str, Any]


class _HookHandler(Answering):
    server: Hook

    @override
    def posted(self, body: bytes) -> None:
        if self.server.take(body):
            self.answer(204)
        else:
            self.answer(429, Retry_After="1")


class Hook(Listening):
    """Receives what the webhook sink sends; answers 429 with `Retry-After: 1` while it is `busy`."""

    def __init__(self) -> None:
        super().__init__(_HookHandler)
        self.busy = False
        self.refused = 0
        self._bodies: list[bytes] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def take(self, body: bytes) -> bool:
        """Keep a notification, unless busy."""
        with self._lock:
            if self.busy:
                self.refused += 1
                return False
            self._bodies.append(body)
            return True

    def bodies(self) -> list[bytes]:
        """Everything that was taken, oldest first."""
        with self._lock:
            return list(self._bodies)

    def notifications(self) -> list[Document]:
        """The documents that were taken, oldest first; a delivery that was repeated counts once."""
        documents = map(msgspec.json.decode, self.bodies())
        return list({document["delivery_id"]: document for document in documents}.values())
