"""A constant load of updates, and the proof that every single one was shown to the auditor."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

import httpx

from app.cli.controlplane import ControlPlane
from tests.e2e.servers import Document
from tests.e2e.webhooks import FAIL_OPEN, REQUESTS, calls, eventually

MERGE: Final = {"Content-Type": "application/merge-patch+json"}
PACE_SECONDS: Final = 0.02
"""Between two updates of a writer: 4 writers make some 100 to 150 updates per second, which leaves the machine room."""

_LOADS: Final = itertools.count(1)
"""No two loads of a run write the same object."""


@dataclass(slots=True)
class _Writer:
    """Updates one ConfigMap again and again, each time with the next number."""

    name: str
    written: list[int] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Load:
    """Writers that update ConfigMaps of a namespace inside the `with` block, each its own.

    `written` are the updates that the API server accepted, as (name, number): every one of them must be in a ledger.
    """

    def __init__(self, cluster: ControlPlane, namespace: str, writers: int = 4) -> None:
        self._cluster = cluster
        self._namespace = namespace
        load = next(_LOADS)
        self._writers = [_Writer(f"load-{load}-{number}") for number in range(writers)]
        self._threads = [threading.Thread(target=self._write, args=(writer,)) for writer in self._writers]
        self._over = threading.Event()

    def __enter__(self) -> Self:
        for writer, thread in zip(self._writers, self._threads, strict=True):
            self._create(writer.name)
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def end(self) -> None:
        """Return when the last update has been answered."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def written(self) -> set[tuple[str, str]]:
        """The accepted updates."""
        return {(writer.name, str(number)) for writer in self._writers for number in list(writer.written)}

    @property
    def refused(self) -> list[str]:
        """What the API server said to updates that it did not accept."""
        return [answer for writer in self._writers for answer in writer.refused]

    def more(self, updates: int = 50) -> None:
        """Return when so many more updates were accepted."""
        before = len(self.written)
        eventually(lambda: len(self.written) >= before + updates, f"{updates} more updates")

    def _create(self, name: str) -> None:
        self._cluster.kubectl(
            "create", "configmap", name, f"--namespace={self._namespace}", "--from-literal=number=none"
        )

    def _write(self, writer: _Writer) -> None:
        path = f"/api/v1/namespaces/{self._namespace}/configmaps/{writer.name}"
        with self._cluster.client() as client:
            for number in itertools.count():
                if self._over.wait(PACE_SECONDS):
                    return
                body = json.dumps({"data": {"number": str(number)}})
                try:
                    answer = client.patch(path, content=body, headers=MERGE)
                except httpx.TransportError as error:
                    # Not written, or written and unknown: not counted, but not forgotten either.
                    writer.refused.append(repr(error))
                    continue
                if answer.is_success:
                    writer.written.append(number)
                else:
                    writer.refused.append(answer.text)


def recorded(entries: Iterable[Document]) -> Iterator[tuple[str, str]]:
    """Yield what entries of ConfigMaps say was written, as (name, number)."""
    for entry in entries:
        for change in entry["changes"]:
            if change["path"] == "data.number":
                yield entry["resource"]["name"], change["new"]


class Witness:
    """What the API server itself says of a webhook since this was made: its counts, where it counts, and its log."""

    def __init__(self, cluster: ControlPlane, webhook: str) -> None:
        self._cluster = cluster
        self._webhook = webhook
        self._logged = len(cluster.log())
        self._called = calls(cluster, webhook)
        self._counted = self._failed_open()
        self._failed = self._bad_answers()

    @property
    def called(self) -> float:
        """How often the API server has called the webhook since then."""
        return calls(self._cluster, self._webhook) - self._called

    def complaints(self) -> list[str]:
        """Every review that failed open since then, and every answer that was not 200."""
        lines = self._cluster.log()[self._logged :].splitlines()
        found = [
            line
            for line in lines
            if self._webhook in line and ("failing open" in line or "failed calling" in line.lower())
        ]
        # Servers before 1.24 do not count those that fail open, those before 1.23 no answers; all of them log.
        if more := self._failed_open() - self._counted:
            found.append(f"{FAIL_OPEN} grew by {more:.0f}")
        if more := self._bad_answers() - self._failed:
            found.append(f"{REQUESTS} with a code other than 200 grew by {more:.0f}")
        return found

    def _failed_open(self) -> float:
        samples = self._cluster.metrics(FAIL_OPEN)
        return sum(sample.value for sample in samples if sample.labels["name"] == self._webhook)

    def _bad_answers(self) -> float:
        samples = self._cluster.metrics(REQUESTS)
        return sum(
            sample.value
            for sample in samples
            if sample.labels["name"] == self._webhook and sample.labels["code"] != "200"
        )
