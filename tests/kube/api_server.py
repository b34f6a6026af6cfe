"""A scripted API server on loopback: each request is kept, and answered by what the test says.

An answer is a coroutine function that takes the exchange. `server.answers` is used up first, one per request; then
`server.otherwise` answers everything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, urlsplit

import msgspec


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a client asked; header names are in lower case."""

    method: str
    path: str
    parameters: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(slots=True)
class Exchange:
    """One request, and the means to answer it: whole with `respond`, or with `begin` and `send`, then `end`."""

    request: Request
    writer: asyncio.StreamWriter

    async def respond(self, body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.writer.write(_head(status, {"content-length": str(len(body)), **(headers or {})}) + body)
        await self.writer.drain()

    async def begin(self, status: int = 200) -> None:
        self.writer.write(_head(status, {"transfer-encoding": "chunked"}))
        await self.writer.drain()

    async def send(self, data: bytes) -> None:
        self.writer.write(b"%x\r\n%b\r\n" % (len(data), data))
        await self.writer.drain()

    async def event(self, kind: str, item: object) -> None:
        await self.send(msgspec.json.encode({"type": kind, "object": item}) + b"\n")

    async def end(self) -> None:
        self.writer.write(b"0\r\n\r\n")
        await self.writer.drain()

    def abort(self) -> None:
        """Lose the connection."""
        self.writer.transport.abort()


Answer: TypeAlias = Callable[[Exchange], Awaitable[None]]


def document(value: object, status: int = 200, **headers: str) -> Answer:
    """Answer with this value as JSON; `retry_after="1"` becomes a header."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}

    async def answer(exchange: Exchange) -> None:
        await exchange.respond(msgspec.json.encode(value), status, {"content-type": "application/json", **named})

    return answer


def failure(code: int, reason: str, message: str = "it failed", *, proceed: str = "", **headers: str) -> Answer:
    """Answer with a Status as the API server writes it; `proceed` is the continue token of an expired list."""
    return document(status(code, reason, message, proceed=proceed), code, **headers)


def status(code: int, reason: str, message: str = "it failed", *, proceed: str = "") -> dict[str, Any]:
    """Return a Status, as an answer's body or as the object of an ERROR event."""
    metadata = {"continue": proceed} if proceed else {}
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": metadata,
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }


async def lost(exchange: Exchange) -> None:
    """Lose the connection without an answer."""
    exchange.abort()


@dataclass
class ApiServer:
    """A server that can be stopped and started again on its port. Its attributes may be changed while it runs."""

    answers: deque[Answer] = field(default_factory=deque)
    otherwise: Answer = field(default_factory=lambda: failure(404, "NotFound", "not in the script"))
    requests: list[Request] = field(default_factory=list)
    tls: ssl.SSLContext | None = None
    port: int = 0
    asked: asyncio.Condition = field(default_factory=asyncio.Condition)
    _server: asyncio.Server | None = None
    _serving: dict[asyncio.Task[None], asyncio.StreamWriter] = field(default_factory=dict)

    @property
    def connections(self) -> list[asyncio.Task[None]]:
        """Each connection that was ever made; done when it is closed."""
        return list(self._serving)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is not None:
            self._server.close()
        self._server = None
        for task, writer in self._serving.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._serving.clear()

    async def requested(self, count: int) -> None:
        """Wait until so many requests have come in all."""
        async with self.asked:
            await self.asked.wait_for(lambda: len(self.requests) >= count)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._serving[task] = writer

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            while not writer.is_closing():
                await self._answer(Exchange(await _read(reader), writer))
        writer.close()
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    async def _answer(self, exchange: Exchange) -> None:
        self.requests.append(exchange.request)
        async with self.asked:
            self.asked.notify_all()
        answer = self.answers.popleft() if self.answers else self.otherwise
        await answer(exchange)


@contextlib.asynccontextmanager
async def serving(*answers: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[ApiServer]:
    """Run a server that gives these answers, in this order."""
    server = ApiServer(answers=deque(answers), tls=tls)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


def _head(code: int, headers: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {code} Scripted", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


async def _read(reader: asyncio.StreamReader) -> Request:
    head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    method, target, _ = head.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    url = urlsplit(target)
    parameters = dict(parse_qsl(url.query, keep_blank_values=True))
    return Request(method=method, path=url.path, parameters=parameters, headers=headers, body=body)
