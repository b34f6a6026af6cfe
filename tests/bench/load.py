"""A closed-loop load of admission reviews: each connection sends its next review when the last was answered."""

from __future__ import annotations

import asyncio
import ssl
import time
import uuid
from pathlib import Path
from typing import Final, cast

import msgspec
import uvloop

RECORDED: Final = Path(__file__).parent.parent / "data" / "reviews-k8s-1.20" / "deployment-update-set-image.json"
_UID: Final = b"00000000-0000-4000-8000-000000000000"


def review(kilobytes: int | None = None) -> bytes:
    """Return the recorded set-image review, or one grown to this size by more containers."""
    if kilobytes is None:
        return RECORDED.read_bytes().replace(
            msgspec.json.decode(RECORDED.read_bytes())["request"]["uid"].encode(), _UID
        )
    document = msgspec.json.decode(RECORDED.read_bytes())
    request = document["request"]
    request["uid"] = _UID.decode()
    number = 0
    while len(msgspec.json.encode(document)) < kilobytes * 1024:
        number += 1
        for key in ("object", "oldObject"):
            containers = request[key]["spec"]["template"]["spec"]["containers"]
            containers.append({**containers[0], "name": f"sidecar-{number}", "image": "busybox:1"})
    return bytes(msgspec.json.encode(document))


class Connection(asyncio.Protocol):
    """One keep-alive connection; records the seconds that each answer took."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.received = b""
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are no subclass
        self.send()

    def send(self) -> None:
        self.received = b""
        self.sent_at = time.perf_counter()
        self.transport.write(self.load.next_request())

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, separator, body = self.received.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(body) < length:
            return
        if b'"allowed":true' not in body:
            self.load.failures += 1
        self.load.seconds.append(time.perf_counter() - self.sent_at)
        if time.perf_counter() < self.load.until:
            self.send()
        else:
            self.transport.close()

    def connection_lost(self, _error: Exception | None) -> None:
        self.load.open -= 1
        if self.load.open == 0:
            self.load.done.set()


class Load:
    """A load of one body under fresh uids; `run` returns the latencies in seconds."""

    def __init__(self, port: int, authority: Path, body: bytes) -> None:
        self.port = port
        self.context = ssl.create_default_context(cafile=str(authority))
        before, _, after = body.partition(_UID)
        head = (
            "POST /validate?timeout=2s HTTP/1.1\r\nHost: kubewitness.kubewitness.svc\r\n"
            "User-Agent: kube-apiserver-admission\r\nAccept: application/json\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self._before, self._after = head.encode() + before, after
        self.seconds: list[float] = []
        self.failures = 0
        self._number = 0
        self._prefix = str(uuid.uuid4())[:24]

    def next_request(self) -> bytes:
        """Return the next request, under a uid of its own."""
        self._number += 1
        return self._before + f"{self._prefix}{self._number:012x}".encode() + self._after

    async def _run(self, connections: int, seconds: float) -> None:
        self.done = asyncio.Event()
        self.open = connections
        self.until = time.perf_counter() + seconds
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            await loop.create_connection(
                lambda: Connection(self), "127.0.0.1", self.port, ssl=self.context, server_hostname="localhost"
            )
        await self.done.wait()

    def run(self, connections: int, seconds: float) -> list[float]:
        """Send for some seconds; return the sorted latencies."""
        self.seconds = []
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._run(connections, seconds))
        assert not self.failures, f"{self.failures} reviews were not allowed"
        return sorted(self.seconds)
