"""Consoles that serve on a port of this machine, in a thread of their own, as those of other replicas do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import httpx
from starlette.types import ASGIApp

from app.remote.http import HttpTransport, client
from app.remote.peers import Peers
from app.store.database import FILE_NAME
from app.telemetry.metrics import Metrics
from app.web.console import Console, console
from app.web.server import listen, listener, stop
from tests.web.doors import as_viewer
from tests.web.ledgers import checks, client_of

TOKEN: Final = "T0ken-of_the-consoles"


@contextlib.contextmanager
def served(app: ASGIApp, sock: socket.socket | None = None) -> Iterator[str]:
    """Serve an application; yield its URL."""
    place = sock or listen("127.0.0.1", 0, "--console-port")
    begun, end = threading.Event(), asyncio.Event()
    loops: list[asyncio.AbstractEventLoop] = []

    async def serve() -> None:
        loops.append(asyncio.get_running_loop())
        server = listener(app)
        task = asyncio.create_task(server.serve(sockets=[place]))
        begun.set()
        await end.wait()
        await stop(server, task)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert begun.wait(10)
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        loops[0].call_soon_threadsafe(end.set)
        thread.join()
        place.close()


def of(data_dir: Path, peers: Peers | None = None) -> Console:
    """Return the console of a folder's journal, which nobody guards."""
    made = console(data_dir / FILE_NAME, checks(), Metrics(), peers=peers)
    _warmed(made)
    return made


def _warmed(app: Console) -> None:
    """Have FastAPI do what it puts off until the first request: it silences warnings, as one thread at a time may."""

    async def ask() -> None:
        async with client_of(app) as asking:
            for path in ("/nowhere", "/api/v1/replicas"):
                await asking.get(path)

    thread = threading.Thread(target=asyncio.run, args=(ask(),))
    thread.start()
    thread.join()


@contextlib.contextmanager
def replica(data_dir: Path) -> Iterator[str]:
    """Serve the console of a folder's journal to everybody; yield its URL."""
    with served(as_viewer(of(data_dir))) as url:
        yield url


@contextlib.contextmanager
def peers_of(*urls: str, name: str = "witness-0", token: str = TOKEN) -> Iterator[Peers]:
    """Yield the other replicas of a process of that name."""
    made = Peers(urls, name, lambda: {"Authorization": f"Bearer {token}"})
    try:
        yield made
    finally:
        made.close()


@contextlib.contextmanager
def transport(url: str, headers: Mapping[str, str] | None = None) -> Iterator[HttpTransport]:
    """Yield the way to a console."""
    with client(secure=False) as http:
        yield HttpTransport(http, url, lambda: headers or {})


def get(url: str, path: str, **headers: str) -> httpx.Response:
    """Ask a console for a page."""
    return httpx.get(f"{url}{path}", headers=headers, trust_env=False, timeout=20)
