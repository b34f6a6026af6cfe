"""The HTTP session with an API server: what it says of us and how long it waits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import aiohttp

from app import __version__
from app.kube.connections import Connections

USER_AGENT: Final = f"kubewitness/{__version__}"
IDLE_CONNECTION: Final = 60.0
"""Seconds that an unused connection is kept; the API server closes it after 90 s (its http.Server.IdleTimeout)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait, in seconds.

    `connect` for TCP and TLS, `call` for an ordinary call in all, `begin` for the first byte of any answer (the API
    server itself gives up after 60 s: its --request-timeout), `margin` for a stream's next byte beyond the time at
    which the server itself should have ended it, `log` for a whole log.
    """

    connect: float = 10.0
    call: float = 30.0
    begin: float = 60.0
    margin: float = 20.0
    log: float = 120.0

    def limits(self, *, total: float | None = None, silence: float | None = None) -> aiohttp.ClientTimeout:
        """Return the limits of one request: in all, and between two reads."""
        return aiohttp.ClientTimeout(total=total, sock_connect=self.connect, sock_read=silence)


def open_session(connections: Connections) -> aiohttp.ClientSession:
    """Return a session without cookies, proxies or netrc of the environment, over these connections.

    The caller closes it, and then ends the connections. The package's own session is not used: it takes proxies and
    passwords from the environment, keeps the TLS context of its start for ever, and encodes bodies itself.
    """
    connector = aiohttp.TCPConnector(keepalive_timeout=IDLE_CONNECTION, socket_factory=connections.open)
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": USER_AGENT, "Accept": "application/json, */*"},
        trust_env=False,
    )


def why(error: Exception) -> str:
    """Return what happened to a call that got no answer, in words without addresses of objects."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return f"the server's certificate is not trusted: {error.certificate_error}"
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"cannot connect: {error.os_error}"
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
