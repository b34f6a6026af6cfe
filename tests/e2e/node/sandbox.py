"""What the containers of one Pod share: network, processes, host name."""

from __future__ import annotations

import asyncio
from typing import Final

from tests.e2e.node.commands import NodeError, run_soon
from tests.e2e.node.network import Network

PAUSE: Final = 'echo "$1" > /proc/sys/kernel/hostname; echo ready; exec cat'
"""Ends when its input does, at the latest with us; and with the first process of a namespace end all others in it."""


class Sandbox:
    """The namespaces of one Pod; while it is open, `enter()` starts commands in them."""

    def __init__(self, network: Network, name: str) -> None:
        self.address, self._interface = network.next_interface()
        self._network = network
        self._name = name
        self._pause: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        """Make the namespaces, and connect them with the node's network."""
        pipe = asyncio.subprocess.PIPE
        flags = ("--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child")
        command = ("unshare", *flags, "--", "sh", "-c", PAUSE, "pause", self._name)
        # A session of its own: Ctrl-C reaches only us, and we end everything in order.
        self._pause = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, start_new_session=True)
        assert self._pause.stdout is not None
        if await self._pause.stdout.readline() != b"ready\n":
            raise NodeError(f"the namespaces of {self._name} cannot be made")
        await self._connect(self._pause.pid)

    def enter(self) -> tuple[str, ...]:
        """Return the beginning of a command that runs the rest of it in the namespaces."""
        assert self._pause is not None
        place = f"/proc/{self._pause.pid}/ns"
        own = tuple(f"--{name}={place}/{name}" for name in ("net", "uts", "ipc"))
        return ("nsenter", *own, f"--pid={place}/pid_for_children", "--")

    async def close(self) -> None:
        """End every process in the namespaces at once, by force; may be called again."""
        pause, self._pause = self._pause, None
        if pause is None:
            return
        assert pause.stdin is not None
        pause.stdin.close()
        await pause.wait()

    async def _connect(self, process_id: int) -> None:
        outside = (
            f"link add {self._interface} type veth peer name eth0 netns {process_id}\n"
            f"link set {self._interface} master {self._network.bridge} up\n"
        )
        inside = f"link set lo up\naddr add {self.address}/16 dev eth0\nlink set eth0 up\n"
        await run_soon("ip", "-batch", "-", stdin=outside)
        await run_soon("nsenter", f"--net=/proc/{process_id}/ns/net", "ip", "-batch", "-", stdin=inside)
