"""Jobs that fail while somebody watches the clock: from the failure's acceptance to the line in the file sink."""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import msgspec

from app.cli.controlplane import ControlPlane
from tests.bench.crowd import failed_condition, pod_of
from tests.e2e.jobs import MERGE, BoundPod, container, manifest
from tests.e2e.kubelet import Kubelet, now

NAMESPACE: Final = "failures"
JOBS: Final = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"
PODS: Final = f"/api/v1/namespaces/{NAMESPACE}/pods"
CONTAINERS: Final = ("main", "proxy", "sidecar")
LOG_LINES: Final = 100
CONNECTIONS: Final = 8
TIMEOUT_SECONDS: Final = 60.0


class _Resource(msgspec.Struct):
    uid: str


class _Entry(msgspec.Struct):
    resource: _Resource


class _Line(msgspec.Struct):
    entry: _Entry


class Arrivals:
    """Notes when a file sink's lines came; looks every few milliseconds inside its `with` block."""

    def __init__(self, path: Path) -> None:
        self.at: dict[str, float] = {}
        self._path = path
        self._decoder = msgspec.json.Decoder(_Line)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> Self:
        self._path.touch()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def wait(self, uids: Sequence[str]) -> None:
        """Return when all of these Jobs are there."""
        deadline = time.monotonic() + TIMEOUT_SECONDS
        while missing := sum(uid not in self.at for uid in uids):
            assert time.monotonic() < deadline, f"{missing} failures are not in the sink"
            time.sleep(0.002)

    def _follow(self) -> None:
        with self._path.open("rb") as lines:
            rest = b""
            while not self._ended.wait(0.003):
                *whole, rest = (rest + lines.read()).split(b"\n")
                came = time.monotonic()
                for line in whole:
                    self.at.setdefault(self._decoder.decode(line).entry.resource.uid, came)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningJob:
    """A Job whose Pod runs, until it fails."""

    uid: str
    path: str
    pod: BoundPod


class Failures:
    """Makes Jobs with a Pod of three containers, each with a log, and lets them fail."""

    def __init__(self, cluster: ControlPlane, kubelet: Kubelet, arrivals: Arrivals) -> None:
        self.log_bytes = 0
        self._api = cluster.client()
        self._kubelet = kubelet
        self._arrivals = arrivals
        self._names = map("fails-{}".format, itertools.count())
        self._pool = ThreadPoolExecutor(CONNECTIONS)

    def close(self) -> None:
        """Close what it holds."""
        self._pool.shutdown()
        self._api.close()

    def single(self, count: int) -> list[float]:
        """Return the seconds from acceptance to line, of failures one after another."""
        return [took for _ in range(count) for took in self._measured([self._job(next(self._names))])]

    def crowd(self, count: int) -> list[float]:
        """Return the same of so many that fail at once: as fast as the API server accepts that they did."""
        jobs = list(self._pool.map(self._job, itertools.islice(self._names, count)))
        # The watcher knows them all: what is measured is that they fail, not that they begin.
        time.sleep(2)
        return self._measured(jobs)

    def _measured(self, jobs: Sequence[RunningJob]) -> list[float]:
        accepted = dict(self._pool.map(self._fail, jobs))
        self._arrivals.wait(list(accepted))
        return [max(self._arrivals.at[uid] - at, 0.0) for uid, at in accepted.items()]

    def _job(self, name: str) -> RunningJob:
        document = manifest(name, containers=[container(each) for each in CONTAINERS])
        job = self._post(JOBS, document)
        pod = BoundPod(self._api, self._kubelet, self._post(PODS, pod_of(job, nodeName=self._kubelet.name)))
        for each in CONTAINERS:
            text = _log(name, each)
            self.log_bytes = len(text)
            pod.write(text, container=each)
        return RunningJob(uid=job["metadata"]["uid"], path=f"{JOBS}/{name}", pod=pod.run())

    def _fail(self, job: RunningJob) -> tuple[str, float]:
        """Let the Pod fail and, at once, the Job; return its uid, and when that was accepted."""
        job.pod.crash()
        status = {"startTime": now(), "failed": 1, "conditions": [failed_condition(now())]}
        self._api.patch(f"{job.path}/status", json={"status": status}, headers=MERGE).raise_for_status()
        return job.uid, time.monotonic()

    def _post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self._api.post(path, json=document).raise_for_status().json()
        return made


def _log(job: str, name: str) -> str:
    """Return lines as programs write them: alike, but no two the same."""
    numbers = random.Random(f"{job} {name}")
    lines = (
        f"2026-01-02T03:04:{line % 60:02} INFO {name} request={numbers.getrandbits(64):016x}"
        f" took={numbers.random():.3f}s items={numbers.randrange(1000)}\n"
        for line in range(LOG_LINES)
    )
    return "".join(lines)
