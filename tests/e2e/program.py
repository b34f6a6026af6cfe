"""The real program as a child process, and what it says through its API, its sink and its files."""

from __future__ import annotations

import os
import signal
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx
import msgspec

from app.cli.processes import Processes, free_ports
from tests.e2e.servers import Document
from tests.e2e.webhooks import eventually

PROGRAM: Final = Path(sys.executable).with_name("kubewitness")
READY_TIMEOUT: Final = timedelta(seconds=20)


class Program(ABC):
    """One command of the program with one file sink called `everything`; ready inside its `with` block.

    `rules` is the rest of its configuration, or more sinks after the first.
    """

    def __init__(self, directory: Path, rules: str) -> None:
        self.directory = directory
        self.data = directory / "data"
        self.sink = directory / "notifications.jsonl"
        self._rules = rules
        self._processes = Processes(directory)
        (self._console_port,) = free_ports(1)
        self._console = httpx.Client(base_url=self.console_url, trust_env=False)
        self._process_id = 0

    def __enter__(self) -> Self:
        try:
            self._prepare()
            self.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    @property
    def console_url(self) -> str:
        """Where its API is."""
        return f"http://127.0.0.1:{self._console_port}"

    def start(self) -> None:
        """Start the program, with the same data as before, and return when it is ready."""
        self._process_id = self._processes.start("program", PROGRAM, self._arguments(), environment=self._environment())
        self._processes.wait_until(self._is_ready, "/readyz", timeout=READY_TIMEOUT)

    def stop(self) -> None:
        """End the program as the kubelet does."""
        self._processes.stop()

    def kill(self) -> None:
        """End the program as a power cut would: SIGKILL, no chance to finish anything."""
        os.kill(self._process_id, signal.SIGKILL)
        self._processes.stop()

    def get(self, path: str, /, **parameters: str) -> httpx.Response:
        """GET a page of the console; only 2xx returns."""
        answer = self._console.get(path, params=parameters)
        assert answer.is_success, f"GET {answer.url} answered {answer.status_code}: {answer.text}"
        return answer

    def entries(self, **filters: str) -> list[Document]:
        """Every entry of the ledger that the filters leave, newest first, over as many pages as it takes."""
        found: list[Document] = []
        page = self.get("/api/v1/entries", **filters).json()
        found += page["items"]
        while page["next"]:
            page = self.get("/api/v1/entries", cursor=page["next"], **filters).json()
            found += page["items"]
        return found

    def entry(self, identifier: str) -> Document:
        """One entry, with everything that the ledger keeps of it."""
        document: Document = self.get(f"/api/v1/entries/{identifier}").json()
        return document

    def told(self) -> list[Document]:
        """Everything that the sink was told, oldest first."""
        lines = self.sink.read_text().splitlines() if self.sink.exists() else []
        return [msgspec.json.decode(line) for line in lines]

    def notifications(self, name: str) -> list[Document]:
        """What the sink was told about objects of this name, oldest first."""
        return [document for document in self.told() if document["entry"]["resource"]["name"] == name]

    def notification(self, name: str, wanted: Callable[[Document], bool] = bool) -> Document:
        """The first notification about objects of this name that is wanted; waits for it."""

        def arrived() -> Document | None:
            return next(filter(wanted, self.notifications(name)), None)

        return eventually(arrived, f"a notification about {name}")

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """Everything that the program has written: journal, log, sink."""
        for path in sorted(self.directory.rglob("*")):
            if path.is_file():
                yield path, path.read_bytes()

    def log(self) -> str:
        """What the program has printed, in all its runs."""
        return self._processes.log("program")

    def _prepare(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        sink = f"sinksConfig:\n- file_sink: {{name: everything, file_name: {self.sink}}}\n"
        (self.directory / "config.yaml").write_text(sink + self._rules)

    def _environment(self) -> dict[str, str]:
        # Neither the caller's settings nor a proxy.
        return {"PATH": os.defpath, "HOME": str(self.directory)}

    @abstractmethod
    def _arguments(self) -> Sequence[str]:
        """Return the command and its options."""

    def _common(self) -> list[str]:
        return [
            f"--config={self.directory / 'config.yaml'}",
            f"--data-dir={self.data}",
            "--console-host=127.0.0.1",
            f"--console-port={self._console_port}",
        ]

    def _is_ready(self) -> bool:
        try:
            return self._console.get("/readyz").is_success
        except httpx.TransportError:
            return False

    def _close(self) -> None:
        self._processes.stop()
        self._console.close()
