"""Whether a request comes from the machine itself, and was meant for it."""

from __future__ import annotations

import ipaddress
from typing import Final

from starlette.datastructures import Headers
from starlette.types import Scope

_RELAYED: Final = ("forwarded", "l5d-", "via", "x-b3-", "x-envoy-", "x-forwarded-", "x-real-ip", "x-request-id")
"""Beginnings of the headers of proxies, those of service meshes included, which call from our own machine.

What they say is not believed; that they are there says that the peer is not who asks.
"""

_NEAR: Final = frozenset({"127.0.0.1", "::1", "::ffff:127.0.0.1"})
"""Peers on this machine. Not all of 127.0.0.0/8: Istio's sidecar passes on what comes from elsewhere as 127.0.0.6."""


def peer_of(scope: Scope) -> str:
    """Return the address of the other end of the connection; empty where there is none."""
    return str((scope.get("client") or ("",))[0])


def is_near(scope: Scope) -> bool:
    """Say whether the connection comes from this machine; it may still carry somebody else's request."""
    return peer_of(scope) in _NEAR


def is_meant_for_loopback(headers: Headers) -> bool:
    """Say whether the request names this machine as its host, once, and no proxy has passed it on.

    A web page in somebody's browser may have its own name lead to 127.0.0.1, but it cannot choose the Host header.
    """
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
