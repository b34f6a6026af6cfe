"""Calls one API server: bytes in, bytes out, over an aiohttp session.

The `kubernetes` package's generated API classes are not used, nor imported: CoreV1Api alone takes 25 MB of a process
that should stay small, and they make objects of whole answers of which we read a few fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import aiohttp

from app.kube.access import Access
from app.kube.backoff import Backoff
from app.kube.connections import Connections
from app.kube.credentials import Credentials, choose
from app.kube.errors import ApiError, refusal
from app.kube.lines import LineTooLongError, lines, tail
from app.kube.session import Patience, open_session, why
from app.settings import environment

MAX_LINE: Final = 16 * 1024 * 1024
"""The longest event of a watch: etcd takes objects of 1.5 MiB, aggregated API servers may take more."""

UNLIMITED_WATCH: Final = 3600
"""Seconds after which an API server ends a stream that names no time: at most twice its --min-request-timeout."""

Parameters: TypeAlias = Mapping[str, str | int]
Heed: TypeAlias = Callable[[Mapping[str, str]], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    method: str
    path: str
    parameters: Parameters = field(default_factory=dict)
    body: bytes | None = None
    content_type: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)
    heed: Heed = lambda _: None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def headers(self, access: Access) -> dict[str, str]:
        headers = {"Authorization": access.authorization} if access.authorization else {}
        content_type = {"Content-Type": self.content_type} if self.content_type else {}
        return {**self.beside, **headers, **content_type}


class KubernetesApi:
    """Calls one API server with the credentials of a service account or a kubeconfig.

    Rotated tokens, certificates and authorities are picked up; a 401 makes it read everything anew and ask once more.
    All failures are ApiError. Paths are absolute, such as `/api/v1/pods`; any number of calls may run at once.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        patience: Patience | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._credentials = credentials
        self._patience = patience or Patience()
        self._pause = pause
        self._connections = Connections()
        self._session = open_session(self._connections)

    @classmethod
    async def connect(cls, kubeconfig: Path | None = None, context: str = "") -> KubernetesApi:
        """Make a client, to be closed by the caller; nothing is sent yet.

        Without a kubeconfig: the service account's files if in a cluster, else the default kubeconfig. `context` is one
        of a kubeconfig; by default its current one. Raises KubernetesSetupError, which says what is missing.
        """
        return cls(await Credentials.read(choose(kubeconfig, environment(), context)))

    @property
    def namespace(self) -> str:
        """The namespace of the service account or of the kubeconfig's context; `default` if they name none."""
        return self._credentials.namespace

    async def bearer_token(self) -> str:
        """Return the token by which the API server knows us; empty where it knows us by something else."""
        scheme, _, token = (await self._credentials.current()).authorization.partition(" ")
        return token if scheme.lower() == "bearer" else ""

    async def get(
        self,
        path: str,
        parameters: Parameters | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        heed: Heed = lambda _: None,
        attempts: int = 3,
        timeout: float | None = None,  # noqa: ASYNC109  ends as an ApiError, which asyncio.timeout would not
    ) -> bytes:
        """Return the whole answer.

        Failures that may pass (429, 5xx, no answer) are tried again up to `attempts` times in all, as late as the
        server asks for, within `timeout` seconds for everything (default 30). Here alone is decided about that.
        `headers` are for whoever the API server passes the call on to; `heed` gets those of an answer of success.
        """
        call = _Call(method="GET", path=path, parameters=parameters or {}, beside=headers or {}, heed=heed)
        deadline = asyncio.get_running_loop().time() + (timeout or self._patience.call)
        backoff = Backoff()
        while True:
            try:
                return await self._whole(call, deadline)
            except ApiError as error:
                wait = backoff.next(error.retry_after)
                if not error.is_temporary or backoff.failures >= attempts or _left(deadline) <= wait:
                    raise
                await self._pause(wait)

    async def send(
        self,
        method: str,
        path: str,
        body: bytes,
        parameters: Parameters | None = None,
        content_type: str = "application/json",
        *,
        timeout: float | None = None,  # noqa: ASYNC109  as for get
    ) -> bytes:
        """Send the body once and return the whole answer, within `timeout` seconds (default 30).

        An ApiError of status 0 leaves open whether the write happened.
        """
        call = _Call(method=method, path=path, parameters=parameters or {}, body=body, content_type=content_type)
        return await self._whole(call, asyncio.get_running_loop().time() + (timeout or self._patience.call))

    @asynccontextmanager
    async def stream(
        self, path: str, parameters: Parameters, *, max_line: int = MAX_LINE
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch and give its lines, until the server ends it; a line torn at the end is left out.

        While lines are read, ApiError is raised for a lost connection, a line of more than `max_line` bytes, and a
        silence that outlasts the `timeoutSeconds` of the parameters.
        """
        call = _Call(method="GET", path=path, parameters=parameters)
        silence = int(parameters.get("timeoutSeconds", UNLIMITED_WATCH)) + self._patience.margin
        response = await self._opened(call, self._patience.limits(silence=silence))
        async with response, aclosing(_lines(call, response, max_line)) as received:
            yield received

    async def tail(self, path: str, parameters: Parameters, limit_bytes: int) -> tuple[bytes, bool]:
        """Return the last `limit_bytes` of an answer, such as a log, and whether there was more before.

        The API's own `limitBytes` cuts the end of a log, which is the part that matters. Memory is bounded by twice
        the limit, time by two minutes.
        """
        call = _Call(method="GET", path=path, parameters=parameters)
        limits = self._patience.limits(total=self._patience.log, silence=self._patience.call)
        response = await self._opened(call, limits)
        async with response:
            return await _answered(call, tail(response.content.iter_any(), limit_bytes))

    async def close(self) -> None:
        """Close all connections, waiting at most 2 s for the server; running calls and streams fail."""
        # First, because aiohttp begins a call anew whose connection it has just closed itself.
        self._connections.stop()
        await self._session.close()
        await self._connections.closed()

    async def _whole(self, call: _Call, deadline: float) -> bytes:
        limits = self._patience.limits(total=max(_left(deadline), 0.001))
        response = await self._opened(call, limits)
        async with response:
            call.heed(response.headers)
            return await _answered(call, response.read())

    async def _opened(self, call: _Call, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        access = await self._credentials.current()
        try:
            return await _answered(call, self._asked(call, access, limits))
        except ApiError as error:
            if not error.is_unauthorized:
                raise
            renewed = await self._credentials.renewed(access)
            if renewed is access:
                raise
        return await _answered(call, self._asked(call, renewed, limits))

    async def _asked(self, call: _Call, access: Access, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """Return an answer of success, whose body is still to be read."""
        async with asyncio.timeout(self._patience.begin):
            response = await self._request(call, access, limits)
            if response.status < HTTPStatus.MULTIPLE_CHOICES:
                return response
            async with response:
                body = await response.read()
        retry_after = _seconds(response.headers.get("Retry-After", ""))
        raise refusal(str(call), body, status=response.status, retry_after=retry_after)

    async def _request(self, call: _Call, access: Access, limits: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        return await self._session.request(
            call.method,
            access.host + call.path,
            params=call.parameters,
            data=call.body,
            headers=call.headers(access),
            timeout=limits,
            ssl=access.tls,
            server_hostname=access.server_name,
            proxy=access.proxy,
            # An API server does not redirect, and our token is for nobody else.
            allow_redirects=False,
        )


async def _answered(call: _Call, answer: Awaitable[T]) -> T:
    try:
        return await answer
    except ApiError:
        raise
    except Exception as error:
        # The boundary of a library that raises more than its ClientError: callers know one failure.
        raise ApiError(f"{call}: {_said(error)}") from error


async def _lines(call: _Call, response: aiohttp.ClientResponse, max_line: int) -> AsyncGenerator[bytes]:
    chunks = response.content.iter_any()
    try:
        async for line in lines(chunks, max_line):
            yield line
    except Exception as error:
        # As above; what the reader of the lines raises does not come by here.
        raise ApiError(f"{call}: {_said(error)}") from error


def _said(error: Exception) -> str:
    """Return what happened; of what is no failure of the network only the kind, since it may quote a header."""
    if isinstance(error, (aiohttp.ClientError, OSError, LineTooLongError)):
        return why(error)
    if isinstance(error, ValueError):
        return f"it cannot be sent ({type(error).__name__}): is the token one line of plain characters?"
    return f"the connection is unusable ({type(error).__name__})"


def _left(deadline: float) -> float:
    return deadline - asyncio.get_running_loop().time()


def _seconds(header: str) -> float | None:
    """Read `Retry-After`; its other form, a date, is none that an API server writes."""
    return float(header) if header.isdecimal() else None
