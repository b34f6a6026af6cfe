"""`kubewitness serve` as a child process, and the webhook that leads to it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import override

from app.cli.processes import free_ports
from tests.e2e.program import PROGRAM, Program
from tests.e2e.servers import Document
from tests.e2e.webhooks import Webhook

__all__ = ["Auditor", "Document"]


class Auditor(Program):
    """`kubewitness serve` with one file sink called `everything`; ready inside its `with` block."""

    def __init__(self, directory: Path, playbooks: str, options: Sequence[str] = ()) -> None:
        super().__init__(directory, playbooks)
        self.certificates = directory / "certificates"
        self._options = options
        (self._admission_port,) = free_ports(1)

    def webhook(self, name: str, **options: Any) -> Webhook:
        """Describe the webhook that leads to this program."""
        return Webhook(name=name, port=self._admission_port, authority=self.certificates / "ca.crt", **options)

    @override
    def files(self) -> Iterator[tuple[Path, bytes]]:
        return ((path, content) for path, content in super().files() if self.certificates not in path.parents)

    @override
    def _prepare(self) -> None:
        super()._prepare()
        command = [str(PROGRAM), "certs", "init", "--dir", str(self.certificates)]
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    @override
    def _arguments(self) -> Sequence[str]:
        return [
            "serve",
            *self._common(),
            "--admission-host=127.0.0.1",
            f"--admission-port={self._admission_port}",
            f"--tls-dir={self.certificates}",
            # No load balancer has to learn that we leave.
            "--drain-seconds=0",
            *self._options,
        ]
