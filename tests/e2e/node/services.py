"""Services of the cluster, as the machine and the Pods see them: addresses that forward, and names."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from tests.e2e.node.commands import NodeError
from tests.e2e.node.environment import service_variables
from tests.e2e.servers import Document

Address: TypeAlias = tuple[str, int]
Key: TypeAlias = tuple[str, str]
"""Namespace and name, which a Service and its Endpoints share."""

PROPAGATION_SECONDS: Final = 1.0
"""How long a Pod that leaves still gets connections: kube-proxy gathers changes for a second (`minSyncPeriod`)."""

DIAL_SECONDS: Final = 2.0
GOODBYE_SECONDS: Final = 5.0
CHUNK: Final = 1 << 16
API_SERVER: Final = ("default", "kubernetes")


class Services:
    """Follows Services and Endpoints, which it is told of; forwards and names them until it is closed.

    Each connection goes to the next ready backend, and stays there when that is no longer ready. Where no backend is
    ready, nobody listens. Endpoints are followed after a second, as in a cluster: who ends sooner than that loses
    connections.
    """

    def __init__(self, api_server: Address) -> None:
        self._api_server = api_server
        self._services: dict[Key, Document] = {}
        self._endpoints: dict[Key, Document] = {}
        self._hosts: dict[Path, tuple[str, str]] = {}
        self._changed = asyncio.Event()
        self._turn = itertools.count()
        self._backends: dict[Address, Sequence[Address]] = {}
        self._servers: dict[Address, asyncio.Server] = {}
        self._exposed: dict[Address, Sequence[Address]] = {}
        self._pumps: set[asyncio.Task[None]] = set()

    def see_service(self, event: str, service: Document) -> None:
        """Take note of what happened to a Service."""
        self._see(self._services, event, service)

    def see_endpoints(self, event: str, endpoints: Document) -> None:
        """Take note of what happened to the Endpoints of a Service, as late as others would."""
        loop = asyncio.get_running_loop()
        loop.call_later(PROPAGATION_SECONDS, self._see, self._endpoints, event, endpoints)

    def variables(self, namespace: str, *, links: bool) -> dict[str, str]:
        """Return the variables that name the API server and, with `links`, the Services of a namespace."""
        wanted = [each for key, each in self._services.items() if key == API_SERVER or (links and key[0] == namespace)]
        return service_variables(wanted)

    def write_hosts(self, path: Path, namespace: str, own: str) -> None:
        """Let a file be the /etc/hosts of Pods in a namespace, from now on; it begins with the lines `own`."""
        self._hosts[path] = namespace, own
        path.touch()
        self._write(path)

    def forget_hosts(self, path: Path) -> None:
        """Leave a file as it is."""
        self._hosts.pop(path, None)

    async def run(self) -> None:
        """Keep addresses and names as the cluster has them, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            self._backends = {**self._exposed, **dict(self._wanted())}
            await self._listen()
            for path in self._hosts:
                self._write(path)

    async def expose(self, host: str, port: int) -> int:
        """Forward a port of `host` to a port of this machine's loopback, and return which."""
        server = await asyncio.start_server(self._forward, host, 0)
        address: Address = server.sockets[0].getsockname()
        self._servers[address] = server
        self._exposed[address] = self._backends[address] = [("127.0.0.1", port)]
        return address[1]

    def close(self) -> None:
        """Stop listening."""
        for server in self._servers.values():
            server.close()

    def _see(self, known: dict[Key, Document], event: str, item: Document) -> None:
        key = item["metadata"]["namespace"], item["metadata"]["name"]
        if event == "DELETED":
            known.pop(key, None)
        else:
            known[key] = item
        self._changed.set()

    def _wanted(self) -> Iterator[tuple[Address, Sequence[Address]]]:
        for key, service in self._services.items():
            for port in service["spec"].get("ports") or []:
                backends = [self._api_server] if key == API_SERVER else self._ready(key, port)
                if service["spec"].get("clusterIP", "None") not in ("", "None") and backends:
                    yield (service["spec"]["clusterIP"], port["port"]), backends

    def _ready(self, key: Key, port: Document) -> list[Address]:
        return [
            (address["ip"], each["port"])
            for subset in self._endpoints.get(key, {}).get("subsets") or []
            for each in subset.get("ports") or []
            for address in subset.get("addresses") or []
            if each.get("name", "") == port.get("name", "")
        ]

    async def _listen(self) -> None:
        for address in self._servers.keys() - self._backends.keys():
            self._servers.pop(address).close()
        for address in self._backends.keys() - self._servers.keys():
            try:
                self._servers[address] = await asyncio.start_server(self._forward, *address, backlog=512)
            except OSError as error:
                hint = "does something else here listen on this port of all addresses?"
                raise NodeError(f"{error}; {hint}") from error

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        backends = self._backends.get(writer.get_extra_info("sockname"), ())
        try:
            backend = backends[next(self._turn) % len(backends)]
            async with asyncio.timeout(DIAL_SECONDS):
                far_reader, far_writer = await asyncio.open_connection(*backend)
        except (OSError, TimeoutError, ZeroDivisionError):
            writer.transport.abort()
            return
        try:
            await self._exchange(_pump(reader, far_writer), _pump(far_reader, writer))
        finally:
            writer.transport.abort()
            far_writer.transport.abort()

    async def _exchange(self, *pumps: Coroutine[None, None, None]) -> None:
        """Run both directions until one has ended, and the other soon after: a Pod that is gone says nothing more."""
        tasks = {asyncio.create_task(pump) for pump in pumps}
        # What nothing refers to but each other may be collected before it ends.
        self._pumps |= tasks
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait(tasks, timeout=GOODBYE_SECONDS)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._pumps -= tasks

    def _write(self, path: Path) -> None:
        namespace, own = self._hosts[path]
        content = (own + "".join(self._names(namespace))).encode()
        # In place, as it is mounted where it is used.
        file = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(file, content, 0)
            os.ftruncate(file, len(content))
        finally:
            os.close(file)

    def _names(self, own: str) -> Iterator[str]:
        for (namespace, name), service in self._services.items():
            full = [f"{name}.{namespace}{end}" for end in ("", ".svc", ".svc.cluster.local")]
            names = " ".join([*full, *([name] if namespace == own else [])])
            address = service["spec"].get("clusterIP", "None")
            if address not in ("", "None"):
                yield f"{address} {names}\n"
            elif address == "None":
                yield from self._headless((namespace, name), names)

    def _headless(self, key: Key, names: str) -> Iterator[str]:
        for subset in self._endpoints.get(key, {}).get("subsets") or []:
            for address in subset.get("addresses") or []:
                hostname = address.get("hostname")
                extra = " ".join(f"{hostname}.{name}" for name in names.split()) if hostname else ""
                yield f"{address['ip']} {names} {extra}\n"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what comes, and its end; a broken connection is broken on both sides."""
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()
    except OSError:
        writer.transport.abort()
