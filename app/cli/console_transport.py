"""Asks the console at a URL that a person named, with the token of a file."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Final

import httpx

from app.remote.http import Heed, HttpTransport
from app.remote.transport import RemoteError

_UNAUTHORIZED: Final = 401


class ConsoleTransport:
    """Asks one console; close it at the end. Each message says which one it is about.

    An answer takes so many seconds at most; `heed` gets the headers of each. Raises ValueError for a URL of no console.
    """

    def __init__(self, url: str, token: str, seconds: float, heed: Heed = lambda _: None) -> None:
        self._url = checked(url)
        self._token = token
        # Unlike between replicas, a proxy of the environment may be the only way.
        self._http = _client(self._url, seconds)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._transport = HttpTransport(self._http, self._url, lambda: headers, heed, seconds=seconds)

    def get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        """Return the body of a successful answer; raises RemoteError with a message for people otherwise."""
        try:
            return self._transport.get(path, parameters)
        except RemoteError as error:
            needs_token = error.status == _UNAUTHORIZED and not self._token
            hint = "; name a file that holds the token with --token-file" if needs_token else ""
            raise RemoteError(f"the console at {self._url} {error}{hint}", error.status) from error

    def close(self) -> None:
        """Close all connections."""
        self._http.close()


def _client(url: str, seconds: float) -> httpx.Client:
    """Return what asks; raises ValueError for a proxy of the environment that cannot be used."""
    try:
        return httpx.Client(timeout=seconds, verify=_trusted(url), follow_redirects=False)
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        # httpx has SOCKS in a package of its own.
        raise ValueError(
            "cannot be asked by way of the proxy that ALL_PROXY, HTTP_PROXY or HTTPS_PROXY names, which takes an"
            " address such as http://proxy.example:3128; NO_PROXY names the hosts that need none"
        ) from error


def checked(url: str) -> str:
    """Return a console's URL; raises ValueError that says what one looks like."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise ValueError(f"takes an address such as http://127.0.0.1:8080, not {url!r}")
    if parsed.userinfo:
        raise ValueError("takes an address without a password, which every process list shows: use --token-file")
    return url.rstrip("/")


def _trusted(url: str) -> ssl.SSLContext | bool:
    """Trust what the machine trusts, or the authorities of SSL_CERT_FILE."""
    return ssl.create_default_context() if url.startswith("https:") else False
