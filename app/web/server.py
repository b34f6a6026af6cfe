"""The two listeners: admission over TLS, console over HTTP, in one event loop and one process."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Iterator
from typing import Any, Final

import uvicorn

from app.web.errors import AddressInUseError
from app.web.protocol import BoundedProtocol

KEEP_ALIVE_SECONDS: Final = 120
"""client-go drops idle connections after 90 s; ours must not be the side that closes a connection in use."""

_BACKLOG: Final = 2048
_GOODBYE_SECONDS: Final = 0.5
"""How long a client may take to answer the end of its idle connection."""


class Listener(uvicorn.Server):
    """A uvicorn server that leaves signals to whoever owns the process, and sleeps when there is nothing to do."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._end = asyncio.Event()

    def end(self) -> None:
        """Begin to end."""
        self.should_exit = True
        self._end.set()

    async def main_loop(self) -> None:
        """Wait for the end. uvicorn looks ten times a second, for a date header that is switched off here."""
        await self.on_tick(0)
        await self._end.wait()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def listen(host: str, port: int, option: str) -> socket.socket:
    """Bind a port; raises AddressInUseError that names the option to change. Port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Named, as asyncio sends the parts of an answer at once (TCP_NODELAY) only on what is said to be TCP.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        reason = (
            "is in use by another process" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        )
        raise AddressInUseError(f"{host}:{port} {reason}; choose another address with {option}") from error
    sock.listen(_BACKLOG)
    sock.setblocking(False)
    return sock


def listener(app: Any, *, tls: ssl.SSLContext | None = None) -> Listener:
    """Return a server for the application; with `tls` it serves that live context, which may be reloaded under it."""
    config = uvicorn.Config(
        app,
        loop="none",
        http=BoundedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=5,
        ssl_context_factory=None if tls is None else lambda _config, _default: tls,
    )
    return Listener(config)


async def stop(server: Listener, task: asyncio.Task[None]) -> None:
    """Close a listener as its requests end, without waiting for clients that are silent.

    TLS says goodbye, and the event loop waits 30 s for the client to say so too. A client that is idle may do that
    before its next request only. A listener that had ended with an error before is no error here.
    """
    server.end()
    silent = set[Any]()
    while not (await asyncio.wait({task}, timeout=_GOODBYE_SECONDS))[0]:
        for connection in silent & server.server_state.connections:
            connection.transport.abort()
        silent = {each for each in server.server_state.connections if each.transport.is_closing()}
