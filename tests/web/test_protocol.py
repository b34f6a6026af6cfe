"""Requests that have no end cost no memory, and those that are merely large pass."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from app.tls.issue import issue_authority, issue_leaf
from app.tls.serving import Serving
from app.web.protocol import MOST
from app.web.server import listen, listener, stop

PIECE = b"x" * 65_536
NOW = datetime.now(UTC)
AUTHORITY = issue_authority("test", now=NOW)
HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"


async def size(scope: Scope, receive: Receive, send: Send) -> None:
    body = await Request(scope, receive).body()
    await PlainTextResponse(str(len(body)))(scope, receive, send)


@asynccontextmanager
async def connection(tls: Serving | None = None) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    sock = listen("127.0.0.1", 0, "--port")
    server = listener(size, tls=tls.context if tls else None)
    task = asyncio.create_task(server.serve(sockets=[sock]))
    trust = ssl.create_default_context(cadata=AUTHORITY.certificate_pem.decode()) if tls else None
    reader, writer = await asyncio.open_connection(*sock.getsockname(), ssl=trust)
    try:
        yield reader, writer
    finally:
        writer.close()
        await stop(server, task)


async def send(writer: asyncio.StreamWriter, piece: bytes, total: int) -> int:
    """Send pieces until the other side ends it; return the bytes that it took."""
    sent = 0
    try:
        while sent < total:
            writer.write(piece)
            await writer.drain()
            sent += len(piece)
    except ConnectionError:
        pass
    return sent


@pytest.mark.parametrize(
    "begin",
    [b"GET /", HEAD + b"X: ", HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX: "],
    ids=["path", "header", "trailer"],
)
async def test_what_has_no_end_ends_the_connection(begin: bytes) -> None:
    async with connection() as (_, writer):
        writer.write(begin)

        # Beside what was read, what fits into the buffers of both sockets.
        assert await send(writer, PIECE, 64 * MOST) < 32 * MOST


async def test_over_tls_it_ends_at_once_too() -> None:
    tls = Serving()
    tls.serve(issue_leaf(AUTHORITY, dns_names=[], ip_addresses=["127.0.0.1"], now=NOW), "a test's certificate")
    async with asyncio.timeout(10), connection(tls) as (_, writer):
        writer.write(HEAD + b"X: ")

        assert await send(writer, PIECE, 64 * MOST) < 32 * MOST


async def test_many_headers_without_an_end_end_the_connection() -> None:
    async with connection() as (_, writer):
        writer.write(HEAD)

        assert await send(writer, b"X: y\r\n" * 10_000, 64 * MOST) < 32 * MOST


async def test_bodies_may_be_longer_and_a_connection_may_serve_any_number() -> None:
    async with connection() as (reader, writer):
        for _ in range(3):
            writer.write(HEAD + b"X: " + PIECE + b"\r\nContent-Length: %d\r\n\r\n" % (3 * MOST))
            assert await send(writer, PIECE, 3 * MOST) == 3 * MOST
            answer = await reader.readuntil(str(3 * MOST).encode())
            assert answer.startswith(b"HTTP/1.1 200")
