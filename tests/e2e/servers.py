"""HTTP servers of the tests on loopback: what all of them share, and a receiver for the webhook sink."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

import msgspec
from typing_extensions import override

Document = dict[str, Any]


class Listening(ThreadingHTTPServer):
    """Serves inside its `with` block, each connection in a thread of its own."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)
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
        """Say nothing: clients that are killed leave broken connections."""

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class Answering(BaseHTTPRequestHandler):
    """Keeps connections, and prints nothing."""

    protocol_version = "HTTP/1.1"

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """Send a whole answer; underscores in the names of headers stand for hyphens."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


class _HookHandler(Answering):
    server: Hook

    def do_POST(self) -> None:
        length = int(self.headers["content-length"])
        body = self.rfile.read(length)
        if len(body) < length:  # the sender was killed
            self.close_connection = True
        elif self.server.take(body):
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
