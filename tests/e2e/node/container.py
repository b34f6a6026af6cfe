"""One container of a Pod, over all its runs: started as its spec says, probed, started again, ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final

from tests.e2e.kubelet import now
from tests.e2e.node import probes
from tests.e2e.node.commands import run_soon
from tests.e2e.node.launch import Launch, Shared
from tests.e2e.node.sources import MissingError
from tests.e2e.servers import Document

RETRY_SECONDS: Final = 1.0
POLL_SECONDS: Final = 0.01
BACK_OFF_SECONDS: Final = (0.0, 1.0, 2.0, 4.0, 8.0)
"""How long a container that ended waits, run by run; a kubelet's begin with 10 s. The last one holds from then on."""

AFTER_HOOK_SECONDS: Final = 2.0
"""What a container has at least between its preStop hook and the end, as a kubelet gives it."""

MESSAGE_LENGTH: Final = 4096


class Container:
    """A container that has not been started yet."""

    def __init__(self, shared: Shared, spec: Document) -> None:
        self.name: str = spec["name"]
        self.state: Document = {"waiting": {"reason": "ContainerCreating"}}
        self.exit_code: int | None = None
        self._shared = shared
        self._spec = spec
        self._launch = Launch(shared, spec)
        self._last_state: Document = {}
        self._restarts = 0
        self._ready = False
        self._started = False
        self._variables: Mapping[str, str] = {}
        self._process: asyncio.subprocess.Process | None = None

    def status(self) -> Document:
        """Return what a kubelet reports of it."""
        return {
            "name": self.name,
            "image": self._spec["image"],
            "imageID": "",
            "containerID": f"process://{self._process.pid}" if self._process else "",
            "ready": self._ready,
            "started": self._started,
            "restartCount": self._restarts,
            "state": self.state,
            "lastState": self._last_state,
        }

    @property
    def is_ready(self) -> bool:
        """Whether it runs, and its readiness probe is content."""
        return self._ready

    def log(self, *, previous: bool = False) -> Path:
        """Return where the output of its current run is, or that of the run before."""
        return self._shared.directory / f"{self.name}.{self._restarts - previous}.log"

    async def execute(self, *command: str) -> str:
        """Run a command in the container, as `kubectl exec` does, and return what it printed; raises NodeError."""
        return await run_soon(*self._enter(), *command)

    async def supervise(self, policy: str) -> None:
        """Run it until it has ended for good, which after some policies is never."""
        while True:
            await self._run()
            if policy == "Never" or (policy == "OnFailure" and self.exit_code == 0):
                return
            delay = BACK_OFF_SECONDS[min(self._restarts, len(BACK_OFF_SECONDS) - 1)]
            self._last_state = self.state
            self._be({"waiting": {"reason": "CrashLoopBackOff", "message": f"back-off {delay} s"}})
            await asyncio.sleep(delay)
            self._restarts += 1

    async def stop(self, seconds: float) -> None:
        """End it as a kubelet does: the hook, SIGTERM, and SIGKILL when so many seconds are over."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        hook = (self._spec.get("lifecycle") or {}).get("preStop")
        clock = asyncio.get_running_loop()
        end = clock.time() + seconds
        if hook and seconds > 0:
            await self._pre_stop(hook, seconds)
            end = max(end, clock.time() + AFTER_HOOK_SECONDS)
        try:
            async with asyncio.timeout_at(end):
                await self._signal(process, signal.SIGTERM)
                await process.wait()
        except TimeoutError:
            await self._signal(process, signal.SIGKILL)
            await process.wait()
        self._end(process)

    async def gone(self) -> None:
        """Return when nothing of it runs, after its sandbox was closed: what is not waited for is never given back."""
        if self._process is not None:
            await self._process.wait()

    async def _run(self) -> None:
        process = await self._start()
        self._be({"running": {"startedAt": now()}})
        probing = asyncio.create_task(self._probe())
        try:
            await process.wait()
        finally:
            probing.cancel()
            await asyncio.gather(probing, return_exceptions=True)
        self._end(process)

    async def _start(self) -> asyncio.subprocess.Process:
        while True:
            try:
                self._variables = await self._launch.variables()
                command = self._launch.command(self._variables)
            except MissingError as error:
                self._be({"waiting": {"reason": "CreateContainerConfigError", "message": str(error)}})
                await asyncio.sleep(RETRY_SECONDS)
            else:
                break
        with self.log().open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/"
            )
        return self._process

    async def _probe(self) -> None:
        if "startupProbe" in self._spec:
            async with aclosing(self._verdicts("startupProbe")) as verdicts:
                if not await anext(verdicts):
                    await self._fail()
                    return
        self._started = True
        self._ready = "readinessProbe" not in self._spec
        self._shared.changed()
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in self._spec:
                group.create_task(self._follow_readiness())
            if "livenessProbe" in self._spec:
                group.create_task(self._follow_liveness())

    async def _follow_readiness(self) -> None:
        async for well in self._verdicts("readinessProbe"):
            if well is not self._ready:
                self._ready = well
                self._shared.changed()

    async def _follow_liveness(self) -> None:
        async for well in self._verdicts("livenessProbe"):
            if not well:
                await self._fail()

    def _verdicts(self, name: str) -> probes.Verdicts:
        probe = self._spec[name]
        return probes.verdicts(
            probe,
            lambda: probes.is_well(probe, self._shared.sandbox.address, self._port, self._enter()),
        )

    async def _fail(self) -> None:
        await self.stop(self._shared.spec.get("terminationGracePeriodSeconds", 30))

    async def _pre_stop(self, hook: Document, seconds: float) -> None:
        if "sleep" in hook:
            await asyncio.sleep(min(hook["sleep"]["seconds"], seconds))
        else:
            probe = {**hook, "timeoutSeconds": seconds}
            await probes.is_well(probe, self._shared.sandbox.address, self._port, self._enter())

    async def _signal(self, process: asyncio.subprocess.Process, number: signal.Signals) -> None:
        """Signal the process itself: the one that waits for it would not pass it on."""
        while process.returncode is None:
            child = _child(process.pid)
            if child is not None:
                os.kill(child, number)
                return
            await asyncio.sleep(POLL_SECONDS)

    def _end(self, process: asyncio.subprocess.Process) -> None:
        if "terminated" in self.state:
            return
        code = process.returncode or 0
        self.exit_code = 128 - code if code < 0 else code
        message = self._termination_message()
        started = self.state.get("running", {}).get("startedAt", now())
        ended = {"exitCode": self.exit_code, "reason": "Error" if code else "Completed", "startedAt": started}
        self._ready = self._started = False
        self._be({"terminated": {**ended, "finishedAt": now(), **({"message": message} if message else {})}})

    def _termination_message(self) -> str:
        message = self._launch.message.read_bytes()
        if not message and self.exit_code and self._spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = self.log().read_bytes()
        return message[-MESSAGE_LENGTH:].decode(errors="replace")

    def _enter(self) -> tuple[str, ...]:
        child = _child(self._process.pid) if self._process else None
        if child is None or not _is_inside(child):
            return ("false",)
        spaces = ("--mount", "--net", "--pid", "--uts", "--ipc", "--root", "--wd")
        return ("nsenter", f"--target={child}", *spaces, "--", *self._launch.privileges(self._variables))

    def _port(self, port: str | int) -> int:
        if isinstance(port, int):
            return port
        return next(int(each["containerPort"]) for each in self._spec["ports"] if each.get("name") == port)

    def _be(self, state: Document) -> None:
        self.state = state
        self._shared.changed()


def _child(process_id: int) -> int | None:
    children = Path(f"/proc/{process_id}/task/{process_id}/children")
    try:
        found = children.read_text().split()
    except OSError:
        return None
    return int(found[0]) if found else None


def _is_inside(process_id: int) -> bool:
    """Whether a container's process has its own file system already; until then it sees the machine's."""
    try:
        return Path(f"/proc/{process_id}/root").readlink() != Path("/")
    except OSError:
        return False
