"""The parts of the watcher, composed upon a connection to the API server."""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import structlog

from app.audit.failed_jobs import FailureRules, job_facts
from app.bootstrap.backbone import Backbone
from app.bootstrap.process import Background, every
from app.config.model import Config
from app.config.token_file import TokenFile
from app.core import claims
from app.core.actions import JobEnricher
from app.core.claims import Record
from app.core.facts import NamespaceLabels
from app.core.redact import Redactor
from app.kube.client import KubernetesApi
from app.kube.lease import Election
from app.kube.shared_record import Format, SharedRecord
from app.kube.watching import Watch, WatchObserver
from app.telemetry.metrics import Metrics
from app.watcher.capture import Capture
from app.watcher.changes import RecentChanges, in_journal, of_server
from app.watcher.gather import Gatherer
from app.watcher.holding import CaptureObserver
from app.watcher.jobs import JobTracker
from app.watcher.logs import LogLimits
from app.watcher.teller import Result, Teller, TellerObserver
from app.web.health import Check

logger = structlog.get_logger(__name__)

JOBS: Final = "/apis/batch/v1/jobs"
PODS: Final = "/api/v1/pods"
PODS_OF_JOBS: Final = "job-name"
"""The label that the Job controller gives its Pods, in every version of Kubernetes."""

RECORD: Final = "failed-jobs"
_MEASURE_SECONDS: Final = 5.0
_STEP_DOWN_SECONDS: Final = 30.0
"""How long a replica whose disk takes nothing leaves the lead to others before it tries again."""

_SILENCE_SECONDS: Final = 120.0
"""Bookmarks come about every minute: after two without a byte the watch does not do its work."""


class _Observer(TellerObserver, CaptureObserver, WatchObserver):
    """Counts what the watcher does."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def decided(self, result: Result) -> None:
        self._metrics.failed_jobs.labels(result).inc()

    def withheld(self, playbook: str) -> None:
        self._metrics.withheld.labels(playbook).inc()

    def captured(self, result: str) -> None:
        self._metrics.evidence_logs.labels(result).inc()

    def dropped(self, reason: str) -> None:
        self._metrics.evidence_dropped.labels(reason).inc()

    def relisted(self, name: str, reason: str) -> None:
        self._metrics.watch_lists.labels(name, reason).inc()

    def reconnected(self, name: str, reason: str) -> None:
        self._metrics.watch_connections.labels(name, reason).inc()


class _Listener:
    """Joins what the Job tracker says to those that wait for it."""

    def __init__(self, capture: Capture, teller: Teller) -> None:
        self.opened = capture.opened
        self.decided = capture.decided
        self.failed = teller.failed


class WatcherParts:
    """What watches, gathers and tells. `open` comes before `start`, and `close` after its tasks have ended."""

    _teller: Teller
    _tracker: JobTracker

    def __init__(self, backbone: Backbone, api: KubernetesApi, namespaces: NamespaceLabels) -> None:
        settings = backbone.settings
        self._namespaces = namespaces
        self._backbone = backbone
        self._settings = settings
        self._api = api
        self._observer = _Observer(backbone.metrics)
        self._max_age = timedelta(seconds=settings.failed_job_max_age_seconds)
        self._identity = identity(settings.data_dir)
        namespace = settings.lease_namespace or api.namespace
        self.election = Election(api, namespace=namespace, name=settings.lease_name, identity=self._identity)
        rules = self._rules(backbone.config.current)
        self._capture = Capture(
            api, backbone.journal, rules.redactor, self._is_open, limits=self._limits(), observer=self._observer
        )
        self._teller = self._new_teller(rules, self._record(namespace))
        self._tracker = JobTracker(_Listener(self._capture, self._teller), self._max_age, too_old=self._teller.too_old)
        self._jobs = Watch(api, JOBS, self._tracker, name="jobs", observer=self._observer)
        self._pods = Watch(
            api,
            PODS,
            self._capture,
            name="pods",
            label_selector=PODS_OF_JOBS,
            field_selector="status.phase!=Succeeded",
            observer=self._observer,
        )

    async def open(self) -> None:
        """Take up what was held before a restart."""
        await self._capture.open()

    def start(self, background: Background) -> None:
        """Start to watch, and to tell."""
        background.start(self._jobs.run(), "jobs watch")
        background.start(self._follow_pods(), "pods watch")
        background.start(self._capture.run(), "evidence")
        background.start(self._tell(), "teller")
        background.start(self.election.run(), "election")
        background.start(self._lead(), "lead")
        background.start(every(_MEASURE_SECONDS, self._measure), "watcher metrics")
        logger.info("watching", action="start", identity=self._identity)

    async def close(self) -> None:
        """Give the Lease to another replica; what is not told yet is told at the next start."""
        await self.election.release()
        await self._capture.close()
        await self._api.close()

    def take_over(self, config: Config) -> None:
        """Take a changed configuration over."""
        rules = self._rules(config)
        self._teller.rules = rules
        self._capture.reconfigure(rules.redactor, self._limits())

    def _record(self, namespace: str) -> SharedRecord[Record]:
        form = Format(encode=claims.encode, decode=claims.decode, start=self._baseline)
        name = f"{self._settings.lease_name}-{RECORD}"
        return SharedRecord(self._api, namespace=namespace, name=name, form=form)

    def _new_teller(self, rules: FailureRules, record: SharedRecord[Record]) -> Teller:
        gatherer = Gatherer(self._api, self._capture, self._changes(), self._redactor, self._wanted)
        return Teller(
            record=record,
            is_leading=lambda: self.election.leading,
            newest_too_old=lambda: self._tracker.newest_too_old,
            journal=self._backbone.journal,
            ids=self._backbone.ids,
            random=self._backbone.random,
            gather=gatherer.gather,
            rules=rules,
            identity=self._identity,
            max_age=self._max_age,
            release=self._capture.decided,
            observer=self._observer,
            give_up_lead=lambda: self.election.step_down(_STEP_DOWN_SECONDS),
        )

    async def _follow_pods(self) -> None:
        """Watch Pods once it is known which Jobs are open: finished ones may have left thousands of them."""
        await self._jobs.synced.wait()
        await self._pods.run()

    async def _tell(self) -> None:
        """Tell once the Jobs have been listed, so that the first start knows what was before."""
        await self._jobs.synced.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._teller.run())
            group.create_task(self._drop_evidence())

    async def _drop_evidence(self) -> None:
        """Forget what was held of Jobs that ended while nobody watched, and were not claimed to be told."""
        await self._teller.recalled.wait()
        for job_uid in self._capture.held_jobs():
            if not self._is_open(job_uid):
                self._capture.decided(job_uid)

    async def _lead(self) -> None:
        """Have the teller look at once when the lead is won."""
        while True:
            await self.election.wait_until_leading()
            self._teller.lead()
            await self.election.wait_until_lost()

    def _is_open(self, job_uid: str) -> bool:
        return self._tracker.is_open(job_uid) or self._teller.waits_for(job_uid)

    def _baseline(self) -> Record:
        return self._teller.baseline()

    def _redactor(self) -> Redactor:
        return self._teller.rules.redactor

    def _wanted(self, document: dict[str, Any]) -> Sequence[JobEnricher]:
        rules = self._teller.rules
        return rules.playbooks.wanted_enrichers(job_facts(document, rules.redactor))

    def _changes(self) -> RecentChanges:
        url, path = self._settings.ledger_url, self._settings.ledger_token_file
        if url is None:
            return in_journal(self._backbone.journal.path)
        return of_server(str(url), token=TokenFile(path)) if path else of_server(str(url))

    def _limits(self) -> LogLimits:
        return LogLimits(lines=self._settings.log_lines, limit_bytes=self._settings.log_bytes)

    def _rules(self, config: Config) -> FailureRules:
        return FailureRules(
            playbooks=config.compile(self._namespaces),
            redactor=self._backbone.redactor(config),
            cluster=self._backbone.cluster_name(config),
        )

    async def _measure(self) -> None:
        metrics = self._backbone.metrics
        metrics.leading.set(self.election.leading)
        metrics.failed_jobs_waiting.set(self._teller.waiting)
        for name, watch in (("jobs", self._jobs), ("pods", self._pods)):
            if watch.last_contact is not None:
                metrics.watch_contact.labels(name).set(time.time() - (time.monotonic() - watch.last_contact))

    def check_watch(self) -> Check:
        """Say whether Jobs and Pods are listed and followed."""
        if not self._jobs.synced.is_set():
            return Check("unavailable", self._jobs.last_error or "the Jobs are being listed for the first time")
        for name, watch in (("Jobs", self._jobs), ("Pods", self._pods)):
            if watch.last_error is not None:
                return Check("degraded", f"{name}: {watch.last_error}")
            if watch.last_contact is not None and time.monotonic() - watch.last_contact > _SILENCE_SECONDS:
                return Check(
                    "degraded", f"{name}: the API server has been silent for more than {_SILENCE_SECONDS:.0f} s"
                )
        return Check("ok")

    def check_lease(self) -> Check:
        """Say who tells."""
        if self.election.last_error is not None:
            return Check("degraded", self.election.last_error)
        return Check(
            "ok", "this replica tells" if self.election.leading else f"{self.election.holder or 'nobody'} tells"
        )

    def check_teller(self) -> Check:
        """Say whether failures wait to be told."""
        if self._teller.last_error is not None:
            return Check("degraded", f"{self._teller.waiting} wait to be told: {self._teller.last_error}")
        return Check("ok")


def identity(folder: Path) -> str:
    """Return the name of this replica: the same after a restart, so that it goes on with what it has begun.

    Its second half is kept in the data folder: Pods with the host's network may share host name and path.
    """
    path = folder / "replica"
    known = path.read_text("ascii").strip() if path.is_file() else ""
    if not known:
        known = secrets.token_hex(4)
        draft = path.with_suffix(".new")
        draft.write_text(known, "ascii")
        draft.replace(path)
    return f"{socket.gethostname()}_{known}"
