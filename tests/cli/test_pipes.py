"""The real program in a pipe, on a terminal, and interrupted: quiet, and with the exit codes that are documented."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import pytest

from app.core.identity import EntryIds
from tests.builders import START
from tests.cli.ledger import write_ledger
from tests.store.kept import keep_entries

PROGRAM: Final = Path(sys.executable).with_name("kubewitness")
MANY: Final = 1200
"""Entries of which any output is more than a pipe holds (64 KiB)."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipes")
    templates, ids = write_ledger(tmp_path_factory.mktemp("templates")), EntryIds()
    made = [
        (template, ids.next(START, number)[1]) for number, template in enumerate(templates * (MANY // len(templates)))
    ]
    keep_entries(folder, [msgspec.structs.replace(template, id=identifier) for template, identifier in made])
    return folder


def started(*arguments: str | Path) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.defpath, "TERM": "xterm", "COLUMNS": "80"}
    return subprocess.Popen(
        [PROGRAM, *arguments], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
    )


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
@pytest.mark.parametrize("command", ["list", "tail"])
def test_who_reads_only_the_beginning_is_not_told_of_it(command: str, output: str, data: Path) -> None:
    since = ["--since", "2025-01-01"] if command == "tail" else ["--limit", str(MANY)]
    with started("entries", command, *since, "-o", output, "--data-dir", data) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()
        said = process.stderr.read()

    assert said == b""
    assert process.returncode == 1


def test_ctrl_c_is_quiet(data: Path) -> None:
    with started("entries", "list", "--limit", str(MANY), "-o", "json", "--data-dir", data) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(1)
        process.send_signal(signal.SIGINT)  # while it waits for room in the pipe
        process.stdout.read()
        said = process.stderr.read()

    assert said == b""
    assert process.returncode == 130


def on_a_terminal(data: Path, **environment: str) -> str:
    main, other = pty.openpty()
    command = [str(PROGRAM), "entries", "list", "--limit", "1", "--data-dir", str(data)]
    given = {"PATH": os.defpath, "TERM": "xterm", "COLUMNS": "80", **environment}
    subprocess.run(command, env=given, stdin=other, stdout=other, stderr=other, check=True)
    os.close(other)
    shown = b""
    while chunk := _read(main):
        shown += chunk
    os.close(main)
    return shown.decode()


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # EIO: nobody has it open any more
        return b""


def test_a_terminal_gets_colours_unless_it_wants_none(data: Path) -> None:
    red, none = "\x1b[31m", on_a_terminal(data, NO_COLOR="1")

    assert f"{red}DELETE" in on_a_terminal(data)
    assert red not in none
    assert "DELETE" in none
