"""The machine's own programs that a node needs, and how they are run."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Final

PROGRAMS: Final = ("ip", "unshare", "nsenter", "setpriv", "mount", "chroot", "sh")
"""From iproute2, util-linux and coreutils."""


class NodeError(Exception):
    """The machine cannot run Pods, or one of its programs failed; the message shows what it printed."""


def missing() -> str:
    """Return why this machine cannot run Pods, in words; empty when it can."""
    if os.geteuid() != 0:
        return "running Pods as processes needs root"
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"running Pods as processes needs {', '.join(absent)}; install iproute2 and util-linux"
    done = subprocess.run(
        ["unshare", "--net", "--pid", "--uts", "--ipc", "--mount", "--fork", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"running Pods as processes needs namespaces: {done.stderr.strip()}" if done.returncode else ""


def run(*command: str, stdin: str = "") -> str:
    """Return what a command printed; raises NodeError."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    _require(command, done.returncode, done.stderr)
    return done.stdout


async def run_soon(*command: str, stdin: str = "") -> str:
    """Return what a command printed, while others go on; raises NodeError."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate(stdin.encode())
    _require(command, process.returncode or 0, errors.decode(errors="replace"))
    return output.decode(errors="replace")


def _require(command: Sequence[str], code: int, errors: str) -> None:
    if code:
        raise NodeError(f"{' '.join(command)} exited with {code}: {errors.strip()}")
