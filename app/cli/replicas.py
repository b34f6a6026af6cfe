"""The consoles behind one address: each replica of a headless Service is asked by itself."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import httpx
import msgspec

from app.core import text as plain
from app.remote.headers import LOCAL

SECONDS: Final = 5.0
"""How long one replica may take to answer."""

_EXCERPT: Final = 200

Lookup: TypeAlias = Callable[[str], Awaitable[list[str]]]
"""Returns the addresses of a host name; raises OSError."""


class ConsoleError(Exception):
    """A console did not tell what it was asked for. `status` is that of its answer, 0 if there was none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status

    @property
    def is_refusal(self) -> bool:
        """It wants another token."""
        return self.status in (401, 403)

    @property
    def may_pass(self) -> bool:
        """It may answer later, as while it starts or restarts."""
        return self.status in (0, 429, 500, 502, 503, 504)


class Replicas:
    """Asks whoever is behind a URL, at every address that its host name has at that moment.

    The token is shown to each of them. Every question has a connection of its own: behind one address there may be
    more replicas, among which a cluster shares out connections.
    """

    def __init__(self, url: str, token: str = "", lookup: Lookup | None = None) -> None:
        self.url = httpx.URL(url.rstrip("/"))
        self._lookup = lookup or _resolved
        shown = {"Authorization": f"Bearer {token}"} if token else {}
        # Each for itself: what it shows of the others is asked of them.
        self._headers = {"Host": self.url.netloc.decode(), LOCAL: "true", **shown}
        self._verify: ssl.SSLContext | bool = ssl.create_default_context() if self.url.scheme == "https" else False

    @property
    def is_local(self) -> bool:
        """The URL leads to this machine."""
        try:
            return ipaddress.ip_address(self.url.host).is_loopback
        except ValueError:
            return self.url.host == "localhost"

    async def addresses(self) -> list[str]:
        """Return the addresses of the host name at this moment, each once; raises ConsoleError."""
        try:
            return list(dict.fromkeys(await self._lookup(self.url.host)))
        except (OSError, UnicodeError) as error:
            raise ConsoleError(
                f"the name {self.url.host} leads nowhere: {_why(error)}. As the name of a Service it does while none of"
                " its Pods is ready; see: kubectl get pods --all-namespaces -l app.kubernetes.io/name=kubewitness"
            ) from error

    async def entries(self, address: str, **filters: str) -> list[dict[str, Any]]:
        """Return the entries of one replica, newest first, at most a page; raises ConsoleError."""
        answer = await self._ask(address, "/api/v1/entries", filters)
        if answer.status_code != httpx.codes.OK:
            raise _refused(address, answer)
        items: list[dict[str, Any]] = _document(address, answer).get("items", [])
        return items

    async def all_entries(self, **filters: str) -> dict[str, list[dict[str, Any]] | ConsoleError]:
        """Return by address what each replica has, or why it does not tell; raises ConsoleError if there is none."""
        addresses = await self.addresses()
        return dict(
            zip(addresses, await asyncio.gather(*(self._tried(each, filters) for each in addresses)), strict=True)
        )

    async def _tried(self, address: str, filters: dict[str, str]) -> list[dict[str, Any]] | ConsoleError:
        try:
            return await self.entries(address, **filters)
        except ConsoleError as error:
            return error

    async def readiness(self, address: str) -> str:
        """Return the state of one replica in words: `ready`, or what it lacks; raises ConsoleError."""
        answer = await self._ask(address, "/readyz", {})
        if answer.status_code not in (httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE):
            raise _refused(address, answer)
        checks = _document(address, answer).get("checks", {})
        lacks = [f"{name}: {check.get('message', '')}" for name, check in checks.items() if check["state"] != "ok"]
        word = "ready" if answer.status_code == httpx.codes.OK else "not ready"
        return plain.one_line("; ".join([word, *lacks]))

    async def _ask(self, address: str, path: str, parameters: dict[str, str]) -> httpx.Response:
        url = self.url.copy_with(host=address, path=self.url.path.rstrip("/") + path)
        # The certificate, like the request, names the host and not its address.
        name = {"sni_hostname": self.url.host}
        try:
            async with httpx.AsyncClient(verify=self._verify, trust_env=False, timeout=SECONDS) as client:
                return await client.get(url, params=parameters, headers=self._headers, extensions=name)
        except httpx.HTTPError as error:
            raise ConsoleError(f"{address} does not answer: {_why(error)}") from error


async def _resolved(host: str) -> list[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return [str(each[4][0]) for each in found]


def _document(address: str, answer: httpx.Response) -> dict[str, Any]:
    try:
        return msgspec.json.decode(answer.content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConsoleError(f"{address} is no console of kubewitness: its answer is no JSON", 404) from error


def _refused(address: str, answer: httpx.Response) -> ConsoleError:
    try:
        said = str(msgspec.json.decode(answer.content, type=dict[str, Any])["detail"])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        said = answer.text[:_EXCERPT]
    return ConsoleError(f"{address} answered {answer.status_code}: {plain.one_line(said)}", answer.status_code)


def _why(error: Exception) -> str:
    return str(error) or type(error).__name__
