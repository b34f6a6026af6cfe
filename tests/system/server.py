"""`kubewitness serve` as a child process: posted to over TLS, killed, started again, and read back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx
import msgspec

from app.cli.processes import Processes
from app.store.encoding import inflated

T = TypeVar("T")

PROGRAM: Final = Path(sys.executable).with_name("kubewitness")
ENVIRONMENT: Final = {"PATH": os.defpath}
"""Neither the caller's settings nor a proxy."""

PATIENCE: Final = timedelta(seconds=20)
POLL_SECONDS: Final = 0.02
WEBHOOK_TIMEOUT_SECONDS: Final = 2.0
"""What the API server grants the webhook: a slower answer fails the test that waits for it."""

_LISTENING: Final = re.compile(r'^\{.*"event": "listening".*\}$', re.MULTILINE)

Document = dict[str, Any]


def eventually(attempt: Callable[[], T | None], what: str) -> T:
    """Return the first truthy result of `attempt`, which is tried for 20 s."""
    deadline = time.monotonic() + PATIENCE.total_seconds()
    while not (result := attempt()):
        assert time.monotonic() < deadline, f"{what}: not within {PATIENCE}"
        time.sleep(POLL_SECONDS)
    return result


class Children(Processes):
    """Child processes whose end is of interest."""

    def exit_code(self, name: str) -> int:
        """Wait until the child has ended by itself, and return its exit code."""
        code = self._running[name].wait(PATIENCE.total_seconds())
        del self._running[name]
        return code


class Server:
    """One data directory, and the program that serves it; ready inside its `with` block, gone after it."""

    def __init__(self, directory: Path, certificates: Path, config: str = "", options: Sequence[str] = ()) -> None:
        self.directory = directory
        self.config = directory / "config" / "config.yaml"
        self.data = directory / "data"
        self.certificates = directory / "certificates"
        self.process_id = 0
        self._options = options
        self._runs = 0
        self._children = Children(directory)
        self._console = httpx.Client(trust_env=False)
        self.config.parent.mkdir(parents=True)
        self.config.write_text(config)
        shutil.copytree(certificates, self.certificates)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close()

    def start(self) -> None:
        """Start the program, with the same data as before, and return when it is ready."""
        self._runs += 1
        self.process_id = self._children.start(self._run, PROGRAM, self._arguments(), environment=ENVIRONMENT)
        self._children.wait_until(self._listens, "the log's line `listening`", timeout=PATIENCE)
        self.until_ready()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        os.kill(self.process_id, number)

    def kill(self) -> None:
        """End the program as a power cut would: SIGKILL, no chance to finish anything."""
        self.signal(signal.SIGKILL)
        self._children.stop()

    def stop(self) -> int:
        """End the program as the kubelet does, and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.exit_code()

    def exit_code(self) -> int:
        """Wait until the program has ended by itself, and return its exit code."""
        return self._children.exit_code(self._run)

    def trust(self) -> ssl.SSLContext:
        """Return what a client needs to trust this server, and no other."""
        return ssl.create_default_context(cafile=self.certificates / "ca.crt")

    def client(self, timeout_seconds: float = WEBHOOK_TIMEOUT_SECONDS) -> httpx.Client:
        """Return a client of the admission port, which keeps its connection."""
        return httpx.Client(base_url=self.admission_url, verify=self.trust(), trust_env=False, timeout=timeout_seconds)

    @property
    def admission_url(self) -> str:
        """Where reviews go; another one after each start."""
        return f"https://{self._listening['admission']}"

    @property
    def console_url(self) -> str:
        """Where everything else is; another one after each start."""
        return f"http://{self._listening['console']}"

    def get(self, path: str, **parameters: str) -> httpx.Response:
        """GET a page of the console; only 2xx returns."""
        answer = self._console.get(self.console_url + path, params=parameters)
        assert answer.is_success, f"GET {answer.url} answered {answer.status_code}: {answer.text}"
        return answer

    def readyz(self) -> tuple[int, Document]:
        """Return the status and the report of `/readyz`."""
        answer = self._console.get(self.console_url + "/readyz")
        return answer.status_code, answer.json()

    def until_ready(self) -> None:
        """Return when every part is well."""
        eventually(lambda: self.readyz()[1]["status"] == "ok", "/readyz says ok")

    def until_degraded(self, part: str) -> str:
        """Return what `/readyz` says of a part that needs attention; waits for it."""

        def complaint() -> str | None:
            status, report = self.readyz()
            check = report["checks"][part]
            return check["message"] if (status, check["state"]) == (200, "degraded") else None

        return eventually(complaint, f"/readyz says degraded for {part}")

    def metric(self, sample: str) -> float:
        """Return one sample of `/metrics`, named with its labels as written there; 0 if it is not there."""
        lines = self.get("/metrics").text.splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.rpartition(" ")[0] == sample), 0.0)

    def entries(self, **filters: str) -> list[Document]:
        """Return what the API has, newest first, over as many pages as it takes."""
        found: list[Document] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get("/api/v1/entries", limit="500", **cursor, **filters).json()
            found += page["items"]
            if page["next"] is None:
                return found
            cursor = {"cursor": page["next"]}

    def stored(self) -> list[Document]:
        """Return what the journal file has, oldest first; the program need not run."""
        with closing(sqlite3.connect(self.data / "journal.db")) as journal:
            return [
                msgspec.json.decode(inflated(body))
                for (body,) in journal.execute("SELECT body FROM entries ORDER BY seq")
            ]

    def deliveries(self) -> list[Document]:
        """Return the deliveries that the API has, newest first, up to 500."""
        items: list[Document] = self.get("/api/v1/deliveries", limit="500").json()["items"]
        return items

    def let_waits_end(self) -> None:
        """Make everything due that waits for its next attempt or for the end of a lease; the program must not run."""
        with closing(sqlite3.connect(self.data / "journal.db")) as journal, journal:
            journal.execute("UPDATE deliveries SET next_attempt_at = 0 WHERE state = 'pending'")

    def logs(self) -> str:
        """Return everything that the program has printed, in all its runs."""
        return "".join(self._children.log(f"serve-{run}") for run in range(1, self._runs + 1))

    def events(self, name: str) -> list[Document]:
        """Return the log lines with this event."""
        lines = (line for line in self.logs().splitlines() if line.startswith("{"))
        return [event for event in map(msgspec.json.decode, lines) if event.get("event") == name]

    def files(self) -> Iterator[tuple[Path, bytes]]:
        """Return everything that the program has written: journal, log, sinks."""
        inputs = (self.certificates, self.config.parent)
        for path in sorted(self.directory.rglob("*")):
            if path.is_file() and not any(folder in path.parents for folder in inputs):
                yield path, path.read_bytes()

    @property
    def _run(self) -> str:
        return f"serve-{self._runs}"

    @property
    def _listening(self) -> Document:
        found = _LISTENING.search(self._children.log(self._run))
        assert found, "the program does not listen"
        document: Document = msgspec.json.decode(found[0])
        return document

    def _listens(self) -> bool:
        return _LISTENING.search(self._children.log(self._run)) is not None

    def _arguments(self) -> list[str]:
        return [
            "serve",
            f"--config={self.config}",
            f"--data-dir={self.data}",
            f"--tls-dir={self.certificates}",
            "--admission-host=127.0.0.1",
            "--admission-port=0",
            "--console-host=127.0.0.1",
            "--console-port=0",
            "--drain-seconds=0",
            "--log-format=json",
            *self._options,
        ]

    def _close(self) -> None:
        self._children.stop()
        self._console.close()
