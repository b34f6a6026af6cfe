"""The connections of one HTTP session: they notice a dead network, and at the end all of them are closed."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import Any, Final
from weakref import WeakSet

from typing_extensions import override

PROBES: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
    # What we sent and nobody acknowledged would otherwise be repeated for a quarter of an hour.
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)
"""A watch may be silent for minutes; a peer that is gone without a word is noticed after a minute (20 s + 4 * 10 s)."""

GOODBYE: Final = 1.0
"""Seconds at the end for peers to answer the goodbye of TLS; an API server needs milliseconds."""


class Connections:
    """Opens the sockets of a session, and closes what is left of them.

    aiohttp forgets a TLS connection when it begins to close it, and asyncio then waits 30 s for the peer's goodbye: the
    end of the session alone would leave connections open, those of watches above all, which always end in the middle.
    """

    def __init__(self) -> None:
        # Weakly: a socket that is lost without being closed is to be collected as ever.
        self._open: WeakSet[_Socket] = WeakSet()
        self._none = asyncio.Event()
        self._none.set()
        self._stopped = False

    def open(self, address: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an address as `getaddrinfo` gives it; once stopped, raise ConnectionAbortedError."""
        if self._stopped:
            raise ConnectionAbortedError("the client is closed")
        family, kind, protocol, *_ = address
        opened = _Socket(family, kind, protocol, gone=self._gone)
        self._open.add(opened)
        self._none.clear()
        for level, option, value in PROBES:
            opened.setsockopt(level, option, value)
        return opened

    def stop(self) -> None:
        """Let no more connections be opened."""
        self._stopped = True

    async def closed(self) -> None:
        """Return when all connections are closed; their peers have GOODBYE to agree, and those that are left are cut.

        A connection that even then nobody closes is left alone, after GOODBYE once more.
        """
        if not await self._are_closed():
            self._cut()
            await self._are_closed()

    async def _are_closed(self) -> bool:
        if self._open:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._none.wait(), GOODBYE)
        return not self._open

    def _cut(self) -> None:
        """Let whoever waits for a peer see an end: the event loop then closes the connection."""
        for each in tuple(self._open):
            # One that has no peer yet, or no more, cannot be cut.
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _gone(self, closed: _Socket) -> None:
        self._open.discard(closed)
        if not self._open:
            self._none.set()


class _Socket(socket.socket):
    """Says when it is closed: asyncio calls `close`, uvloop `detach`, and then closes the descriptor itself."""

    def __init__(self, family: int, kind: int, protocol: int, *, gone: Callable[[_Socket], None]) -> None:
        super().__init__(family, kind, protocol)
        self._gone = gone

    @override
    def close(self) -> None:
        super().close()
        self._gone(self)

    @override
    def detach(self) -> int:
        descriptor = super().detach()
        self._gone(self)
        return descriptor
