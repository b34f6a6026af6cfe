"""A webhook's receiver on loopback that can be down, and keeps what it got."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from typing_extensions import override

UNAVAILABLE: Final = 503
NO_CONTENT: Final = 204


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Receiver

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the sender was killed
            self.close_connection = True
            return
        head = f"{self.requestline}\n{self.headers}".encode()
        taken = self.server.take(head, body)
        self.send_response(NO_CONTENT if taken else UNAVAILABLE)
        # Proxies are known to quote what they could not bring on.
        quoted = b"" if taken else head
        self.send_header("content-length", str(len(quoted)))
        self.end_headers()
        self.wfile.write(quoted)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


class Receiver(ThreadingHTTPServer):
    """Answers 204, or 503 with what it was asked while it is `down`; open inside its `with` block."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.down = False
        self.refused = 0
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @override
    def __enter__(self) -> Self:
        self._thread.start()
        return self

    @override
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    @override
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: senders that are killed leave broken connections."""

    @property
    def url(self) -> str:
        """Where to POST."""
        return f"http://127.0.0.1:{self.server_address[1]}/hook"

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
