"""A network for Pods and Services that exists on this machine alone."""

from __future__ import annotations

import errno
import ipaddress
import itertools
import os
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Final, Self

import msgspec

from tests.e2e.node.commands import NodeError, run

CANDIDATES: Final = range(64, 192)
"""Second numbers of 10.x.0.0/16; docker's and kind's own networks are elsewhere."""

PREFIX: Final = "kubewitness-"
"""What the names of the bridges begin with; with a number of three digits they are as long as names can be."""


class Network:
    """A bridge with 10.x.0.0/16, which nothing else here uses: the lower half for Pods, the upper for Services.

    Both reach the machine at `gateway`, and nothing beyond it. Every address of a Service is one of the machine's
    own, so that a process here can listen on it. All gone after the `with` block; what runs that were killed have left
    behind goes before it.
    """

    def __init__(self) -> None:
        self._number = 0
        self._addresses: Iterator[int] = itertools.count(10)
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        _remove_left_behind()
        taken = _taken()
        start = os.getpid() % len(CANDIDATES)
        for number in [*CANDIDATES[start:], *CANDIDATES[:start]]:
            if not any(each.overlaps(_range(number)) for each in taken) and self._claim(number):
                return self
        raise NodeError(f"no free range in 10.{CANDIDATES[0]}.0.0 to 10.{CANDIDATES[-1]}.0.0: see `ip route`")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo.close()

    @property
    def bridge(self) -> str:
        """The name of the bridge's interface."""
        return f"{PREFIX}{self._number}"

    @property
    def gateway(self) -> str:
        """The machine's address for Pods."""
        return f"10.{self._number}.0.1"

    @property
    def services(self) -> str:
        """The range of the Services' addresses, for the API server."""
        return f"10.{self._number}.128.0/17"

    def next_interface(self) -> tuple[str, str]:
        """Return a Pod's address that nobody has had before, and the name of the bridge's end of its cable."""
        number = next(self._addresses)
        return f"10.{self._number}.{number // 250}.{number % 250 + 1}", f"kw{self._number}-{number}"

    def _claim(self, number: int) -> bool:
        owner = _owner(number)
        if owner is None:
            return False
        self._number = number
        with ExitStack() as undo:
            undo.enter_context(owner)
            # Its own hardware address: otherwise it changes with every cable, and Pods would talk to the old one.
            run("ip", "link", "add", self.bridge, "address", f"02:6b:77:00:00:{number:02x}", "type", "bridge")
            undo.callback(run, "ip", "link", "delete", self.bridge)
            run("ip", "-batch", "-", stdin=self._settings())
            self._undo = undo.pop_all()
        return True

    def _settings(self) -> str:
        return (
            f"addr add {self.gateway}/16 dev {self.bridge}\n"
            f"link set {self.bridge} up\n"
            f"route add local {self.services} dev {self.bridge} table local\n"
        )


def _owner(number: int) -> socket.socket | None:
    """Return what nobody else has while it is open: a name that goes with its process, however that ends."""
    owner = socket.socket(socket.AF_UNIX)
    try:
        owner.bind(f"\0{PREFIX}{number}")
    except OSError as error:
        owner.close()
        if error.errno != errno.EADDRINUSE:
            raise
        return None
    return owner


def _remove_left_behind() -> None:
    """Remove the bridges of runs that are no more."""
    for number in map(int, re.findall(rf"\d+: {PREFIX}(\d+):", run("ip", "-oneline", "link"))):
        if owner := _owner(number):
            with owner:
                run("ip", "link", "delete", f"{PREFIX}{number}")


def _range(number: int) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(f"10.{number}.0.0/16")


def _taken() -> list[ipaddress.IPv4Network]:
    routes = msgspec.json.decode(run("ip", "-4", "-json", "route", "show", "table", "all"))
    return [ipaddress.IPv4Network(route["dst"], strict=False) for route in routes if route["dst"] != "default"]
