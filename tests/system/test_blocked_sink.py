"""A local sink that blocks for good holds up neither the reviews nor the end of the program."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import termios
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import pytest
from typing_extensions import override

from tests.system.reviews import acknowledge
from tests.system.server import Children, Server, eventually

CONFIG: Final = """
customPlaybooks:
- triggers: [{on_deployment_update: {}}]
  actions: [{resource_babysitter: {fields_to_monitor: [images]}}]
sinksConfig:
- %s
"""
PIPE_BYTES: Final = 4096
TOO_LONG: Final = "web:" + "x" * 2 * PIPE_BYTES
"""An image whose notification does not fit into the pipe."""


class UnreadPipe:
    """A pipe whose reader never reads."""

    def __init__(self) -> None:
        self._reader, self.writer = os.pipe()
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def is_full(self) -> bool:
        """Say whether whoever writes to it is blocked."""
        answer = fcntl.ioctl(self._reader, termios.FIONREAD, struct.pack("i", 0))
        return bool(struct.unpack("i", answer)[0] >= PIPE_BYTES)

    def close(self) -> None:
        os.close(self._reader)
        os.close(self.writer)


class PipedChildren(Children):
    """Child processes whose standard output goes to the pipe, and only their log to the file."""

    def __init__(self, directory: Path, pipe: UnreadPipe) -> None:
        super().__init__(directory)
        self._pipe = pipe

    @override
    def start(
        self, name: str, program: Path, arguments: Sequence[str], *, environment: Mapping[str, str] | None = None
    ) -> int:
        with self._log_path(name).open("ab") as log:
            self._running[name] = subprocess.Popen(
                [str(program), *arguments], stdout=self._pipe.writer, stderr=log, env=environment
            )
        return self._running[name].pid


class PipedServer(Server):
    """A server whose standard output nobody reads."""

    def __init__(self, directory: Path, certificates: Path, config: str, pipe: UnreadPipe) -> None:
        super().__init__(directory, certificates, config, ["--flush-seconds=1"])
        self._children = PipedChildren(directory, pipe)


@pytest.fixture
def pipe() -> Iterator[UnreadPipe]:
    with ExitStack() as stack:
        made = UnreadPipe()
        stack.callback(made.close)
        yield made


@pytest.mark.parametrize("sink", ["stdout_sink: {name: out, format: json}", "file_sink: {name: out}"])
def test_a_pipe_that_nobody_reads_keeps_neither_reviews_nor_the_process(
    tmp_path: Path, certificates: Path, pipe: UnreadPipe, sink: str
) -> None:
    with PipedServer(tmp_path / "server", certificates, CONFIG % sink, pipe) as server:
        with server.client() as client:
            blocking = list(acknowledge(client, TOO_LONG))
            eventually(pipe.is_full, "a full pipe")
            later = list(acknowledge(client, "web:1", "web:2"))

        exit_code = server.stop()

    assert exit_code == 0, server.logs()
    assert [entry["id"] for entry in server.stored()] == blocking + later
    assert server.logs().count("Traceback") == 0
