"""Who may read the console: whoever is on this machine, and whoever shows its token."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Iterator
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

OPEN: Final = frozenset({"/livez", "/readyz", "/metrics"})
"""What the kubelet and Prometheus ask for: states and counts, no entry of the ledger."""

TOKEN_HEADER: Final = "x-kubewitness-token"
"""Takes the token, too: the API server's service proxy keeps `Authorization` to itself, as that is for it."""

_RELAYED: Final = ("forwarded", "l5d-", "via", "x-b3-", "x-envoy-", "x-forwarded-", "x-real-ip", "x-request-id")
"""Beginnings of the headers of proxies, those of service meshes included, which call from our own machine.

What they say is not believed; that they are there says that the peer is not who asks.
"""

_NEAR: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
"""Peers on this machine. Not all of 127.0.0.0/8: Istio's sidecar passes on what comes from elsewhere as 127.0.0.6."""

_FETCH: Final = "kubectl -n NAMESPACE get secret RELEASE -o jsonpath='{.data.console-token}' | base64 -d"
_NEEDED: Final = (
    f"the console needs its token: send `Authorization: Bearer TOKEN` or `X-Kubewitness-Token: TOKEN`; it is in the"
    f" Secret of the installation ({_FETCH}); or ask from the machine itself, such as through kubectl port-forward"
)
_WRONG: Final = f"this is not the console's token; it is in the Secret of the installation ({_FETCH})"
_NONE: Final = (
    "the console answers only to its own machine, since it has no token: start it with --console-token-file, or with"
    " --secret in a cluster; or ask from the machine itself, such as through kubectl port-forward"
)
_STRANGE_HOST: Final = (
    "this request comes from the machine itself, but was meant for another host or passed a proxy: ask for"
    " http://localhost and the port, or show the console's token"
)


def guarded(app: ASGIApp, token: Callable[[], str]) -> ASGIApp:
    """Let pass what may be seen: `OPEN` to all, the rest to loopback and to whoever shows the token of the moment.

    Loopback is the peer of the connection, asked for by a loopback name: a web page in somebody's browser may have its
    own name lead to 127.0.0.1, but it cannot choose the Host header. With a token every peer and every name will do.
    Everybody else gets 401, or 403 where `token` gives an empty one, with a JSON `detail` that says what to do.
    """

    async def guard(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan" or scope["path"] in OPEN:
            refusal = None
        else:
            refusal = _refusal(scope, Headers(scope=scope), token)
        await (refusal or app)(scope, receive, send)

    return guard


def _refusal(scope: Scope, headers: Headers, token: Callable[[], str]) -> ASGIApp | None:
    """Return the answer to who may not see this, None for who may."""
    is_near = (scope.get("client") or ("",))[0] in _NEAR
    if is_near and _is_meant_for_loopback(headers):
        return None
    expected, shown = token(), list(_shown(headers))
    if not expected:
        return _answer(403, _STRANGE_HOST if is_near else _NONE)
    if any(_is_same(each, expected) for each in shown):
        return None
    if shown:
        return _answer(401, _WRONG, 'Bearer error="invalid_token"')
    return _answer(401, _STRANGE_HOST if is_near else _NEEDED, "Bearer")


def _shown(headers: Headers) -> Iterator[str]:
    for value in headers.getlist("authorization"):
        scheme, _, credentials = value.partition(" ")
        if scheme.lower() == "bearer":
            yield credentials.strip()
    yield from headers.getlist(TOKEN_HEADER)


def _is_same(shown: str, expected: str) -> bool:
    """Compare in a time that tells neither where two tokens differ nor how long the right one is."""
    first, second = (hashlib.sha256(each.encode()).digest() for each in (shown, expected))
    return hmac.compare_digest(first, second)


def _is_meant_for_loopback(headers: Headers) -> bool:
    """Say whether the request names this machine as its host, once, and no proxy has passed it on."""
    hosts = headers.getlist("host")
    return len(hosts) == 1 and _is_local(_name(hosts[0])) and not any(each.startswith(_RELAYED) for each in headers)


def _name(host: str) -> str:
    """Return the name or address of a Host header without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower().removesuffix(".")


def _is_local(name: str) -> bool:
    # Browsers and resolvers keep all of localhost to the machine (RFC 6761, 6.3).
    return name == "localhost" or name.endswith(".localhost") or _is_loopback(name)


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback


def _answer(status: int, detail: str, challenge: str = "") -> ASGIApp:
    headers = {"Cache-Control": "no-store", **({"WWW-Authenticate": challenge} if challenge else {})}
    return JSONResponse({"detail": detail}, status_code=status, headers=headers)
