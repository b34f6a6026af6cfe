"""The end of a client: when it says so its connections are closed, whatever their peers do."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from app.kube import connections
from app.kube.client import KubernetesApi
from app.kube.connections import Connections
from app.kube.errors import ApiError
from app.kube.kubeconfig import Kubeconfig
from tests.kube.api_server import ApiServer, Exchange, document, serving
from tests.kube.clients import client_of, write_kubeconfig
from tests.sinks.receiver import self_signed

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LINE = b"4\r\none\n\r\n"
MORE_THAN_IS_TAKEN = b"800000\r\n" + bytes(0x800000) + b"\r\n"
ADDRESS: tuple[Any, ...] = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1))

TOO_LONG = 3.0
"""Seconds after which a test has failed."""


class Peer:
    """Takes one connection and never closes it, nor answers a goodbye; `left` is set when the other side has closed.

    It says the same whatever it is asked; without TLS it does not even shake hands.
    """

    def __init__(self, says: bytes, tls: ssl.SSLContext | None) -> None:
        self.says = says
        self.tls = tls
        self.taken = threading.Event()
        self.asked = threading.Event()
        self.left = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve, daemon=True)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextlib.contextmanager
    def serving(self) -> Iterator[None]:
        self._thread.start()
        with self._listener:
            yield
        self._thread.join()

    def _serve(self) -> None:
        taken, _ = self._listener.accept()
        taken.settimeout(TOO_LONG)
        self.taken.set()
        if self.tls is not None:
            taken = self._spoken(self.tls, taken)
        with taken, contextlib.suppress(TimeoutError):
            with contextlib.suppress(ConnectionError):
                while taken.recv(65536):
                    pass
            self.left.set()

    def _spoken(self, tls: ssl.SSLContext, taken: socket.socket) -> socket.socket:
        """Return the connection without its TLS, which would answer a goodbye."""
        secure = tls.wrap_socket(taken, server_side=True)
        secure.recv(65536)
        self.asked.set()
        with contextlib.suppress(OSError):
            secure.sendall(self.says)
        bare = socket.socket(fileno=secure.detach())
        bare.settimeout(TOO_LONG)
        return bare


@pytest.fixture
def trusted(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    return self_signed(tmp_path)


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    """Return a loop of the test's own, which makes no turns but those of its coroutine."""
    with asyncio.Runner(loop_factory=request.param) as running:
        yield running
    gc.collect()  # what was left open says so now, and pytest takes it for an error


@pytest.fixture(autouse=True)
def short_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "GOODBYE", 0.05)


async def left_in_the_middle(api: KubernetesApi, _peer: Peer | None = None) -> None:
    async with api.stream("/api/v1/pods", {"timeoutSeconds": 300}) as lines:
        assert await anext(lines) == b"one"


async def cancelled(api: KubernetesApi, peer: Peer) -> None:
    call = asyncio.create_task(api.get("/api/v1/pods"))
    await asyncio.to_thread(peer.asked.wait)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def timed_out(api: KubernetesApi, _peer: Peer) -> None:
    with pytest.raises(ApiError, match="timed out"):
        await api.get("/api/v1/pods", timeout=0.2)


@pytest.mark.parametrize(
    ("says", "use"),
    [
        pytest.param(HEAD + LINE, left_in_the_middle, id="a watch that is left"),
        pytest.param(HEAD + LINE + MORE_THAN_IS_TAKEN, left_in_the_middle, id="a watch of which much is unread"),
        pytest.param(b"", cancelled, id="a call that is cancelled"),
        pytest.param(HEAD, timed_out, id="a call that takes too long"),
    ],
)
def test_a_closed_client_has_no_connection_though_the_server_says_no_goodbye(
    runner: asyncio.Runner,
    tmp_path: Path,
    trusted: tuple[ssl.SSLContext, Path],
    says: bytes,
    use: Callable[[KubernetesApi, Peer], Awaitable[None]],
) -> None:
    peer = Peer(says, trusted[0])

    async def main() -> bool:
        async with client_for(peer, tmp_path, trusted[1]) as api:
            await use(api, peer)
        return peer.left.wait(TOO_LONG)  # in the loop's thread: what it has not done by now it does not do

    with peer.serving():
        assert runner.run(main())


@pytest.mark.parametrize(
    ("says", "failure"),
    [
        pytest.param(HEAD + LINE, "^GET /api/v1/pods: ", id="a watch"),
        pytest.param(b"", "the client is closed", id="a call, which is not begun anew"),
        pytest.param(None, "cannot connect", id="a handshake"),
    ],
)
def test_what_runs_when_a_client_is_closed_fails_and_leaves_no_connection(
    runner: asyncio.Runner, tmp_path: Path, trusted: tuple[ssl.SSLContext, Path], says: bytes | None, failure: str
) -> None:
    peer = Peer(says or b"", None if says is None else trusted[0])

    async def main() -> bool:
        async with client_for(peer, tmp_path, trusted[1]) as api:
            watch = asyncio.create_task(until_it_ends(api))
            await asyncio.to_thread((peer.asked if peer.tls else peer.taken).wait)
        left = peer.left.wait(TOO_LONG)
        with pytest.raises(ApiError, match=failure):
            await watch
        return left

    with peer.serving():
        assert runner.run(main())


def test_a_server_that_agrees_is_left_at_once(
    runner: asyncio.Runner,
    tmp_path: Path,
    trusted: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connections, "GOODBYE", 3600)

    async def line(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.send(b"one\n")

    async def main() -> None:
        async with (
            asyncio.timeout(TOO_LONG),
            serving(document({}), line, tls=trusted[0]) as server,
            client_for(server, tmp_path, trusted[1]) as api,
        ):
            await api.get("/api/v1/pods")
            await left_in_the_middle(api)

    runner.run(main())


async def until_it_ends(api: KubernetesApi) -> None:
    async with api.stream("/api/v1/pods", {"timeoutSeconds": 300}) as lines:
        async for _ in lines:
            pass


@contextlib.asynccontextmanager
async def client_for(peer: Peer | ApiServer, folder: Path, authority: Path) -> AsyncIterator[KubernetesApi]:
    path = write_kubeconfig(folder / "kubeconfig", peer.url, certificate_authority=str(authority))
    async with client_of(Kubeconfig(paths=str(path))) as api:
        yield api


async def test_a_client_that_is_being_closed_opens_no_connection() -> None:
    ours = Connections()

    ours.stop()

    with pytest.raises(ConnectionAbortedError, match=r"^the client is closed$"):
        ours.open(ADDRESS)


async def test_a_connection_that_nobody_closes_does_not_hold_up_the_end() -> None:
    ours = Connections()

    with ours.open(ADDRESS):
        await ours.closed()


async def test_a_connection_that_was_lost_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "GOODBYE", 3600)
    ours = Connections()
    with pytest.warns(ResourceWarning, match="unclosed"):
        ours.open(ADDRESS)

    await ours.closed()
