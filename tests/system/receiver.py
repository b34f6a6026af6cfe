"""A webhook's receiver on loopback that can be down, and keeps what it got."""

from __future__ import annotations

import threading
from typing import Final

import msgspec
from typing_extensions import override

from tests.servers import Answering, Listening

UNAVAILABLE: Final = 503
NO_CONTENT: Final = 204


class _Handler(Answering):
    server: Receiver

    @override
    def posted(self, body: bytes) -> None:
        head = f"{self.requestline}\n{self.headers}".encode()
        if self.server.take(head, body):
            self.answer(NO_CONTENT)
        else:
            # Proxies are known to quote what they could not bring on.
            self.answer(UNAVAILABLE, head)


class Receiver(Listening):
    """Answers 204, or 503 with what it was asked while it is `down`; open inside its `with` block."""

    def __init__(self) -> None:
        super().__init__(_Handler)
        self.down = False
        self.refused = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """Where to POST."""
        return f"http://127.0.0.1:{self.port}/hook"

    def take(self, head: bytes, body: bytes) -> bool:
        """Keep a request, unless down."""
        with self._lock:
            if self.down:
                self.refused += 1
                return False
            self.heads.append(head)
            self.bodies.append(body)
            return True

    def told(self) -> list[str]:
        """Return the ids of the entries that were told of, in the order of arrival."""
        with self._lock:
            bodies = list(self.bodies)
        return [msgspec.json.decode(body)["entry"]["id"] for body in bodies]
