"""Child processes that are started in an order, watched while they live, and ended in the reverse order."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

STOP_TIMEOUT: Final = timedelta(seconds=10)
POLL_INTERVAL: Final = timedelta(milliseconds=50)
LOG_TAIL_LINES: Final = 15


class ProcessError(Exception):
    """A child process ended or did not get ready; the message shows the end of what it printed."""


class Processes:
    """Named children whose output goes to `<directory>/<name>.log`; all are gone after the `with` block."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()

    def start(
        self,
        name: str,
        program: Path,
        arguments: Sequence[str],
        *,
        environment: Mapping[str, str] | None = None,
    ) -> int:
        """Start a program and return its process id."""
        with self._log_path(name).open("ab") as log:
            # A session of its own: Ctrl-C reaches only us, and we end the children in order.
            process = subprocess.Popen(  # noqa: S603  a list, no shell
                [str(program), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=environment,
            )
        self._running[name] = process
        return process.pid

    def wait_until(self, ready: Callable[[], bool], what: str, *, timeout: timedelta) -> None:
        """Return when `ready` says so; raise ProcessError when a child ends before, or after `timeout`."""
        deadline = time.monotonic() + timeout.total_seconds()
        while not ready():
            self.require_running()
            if time.monotonic() > deadline:
                raise ProcessError("\n".join([f"{what}: not within {timeout}", *map(self._tail, self._running)]))
            time.sleep(POLL_INTERVAL.total_seconds())

    def require_running(self) -> None:
        """Raise ProcessError if a child has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                raise ProcessError(f"{name} exited with {process.returncode}\n{self._tail(name)}")

    def log(self, name: str) -> str:
        """Return what a child has printed so far."""
        return self._log_path(name).read_text(errors="replace")

    def stop(self) -> None:
        """End the children, the last one first, by force after 10 s; may be called again."""
        while self._running:
            _, process = self._running.popitem()
            process.terminate()
            try:
                process.wait(STOP_TIMEOUT.total_seconds())
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log_path(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def _tail(self, name: str) -> str:
        return "\n".join([f"--- {self._log_path(name)}", *self.log(name).splitlines()[-LOG_TAIL_LINES:]])


def free_ports(count: int) -> tuple[int, ...]:
    """Return loopback ports that were free a moment ago, each another one."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return tuple(listener.getsockname()[1] for listener in listeners)
