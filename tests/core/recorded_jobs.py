"""Recorded Jobs, Pods and Events, and a failed Job made of them: one line to a valid one, keywords to bend it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import msgspec

from app.core.evidence import Log, PodEvidence, read_pod
from app.core.job_events import read_events
from app.core.job_report import FailedJob
from app.core.jobs import Failure, JobHead, failure
from app.core.recorded_changes import read_changes
from app.core.redact import Redactor

FOLDER: Final = Path(__file__).parent.parent / "data" / "jobs"
REDACTOR: Final = Redactor(b"k" * 32)
JOB: Final = "nightly-1795344480"


def recorded(name: str) -> dict[str, Any]:
    """Return a file of `k8s-1.20/` or `published/`, without its ending."""
    document = json.loads((FOLDER / f"{name}.json").read_text())
    assert isinstance(document, dict)
    return document


def head(document: object) -> JobHead:
    """Return the document as the watcher reads it from the wire."""
    return msgspec.json.decode(json.dumps(document), type=JobHead)


def failure_of(document: dict[str, Any]) -> Failure:
    found = failure(head(document))
    assert found is not None
    return found


def recorded_pod(name: str = "k8s-1.20/pods-of-cron-job", index: int = 0) -> PodEvidence:
    document = recorded(name)
    return read_pod(document["items"][index] if "items" in document else document, REDACTOR)


def with_logs(pod: PodEvidence, *logs: Log) -> PodEvidence:
    return msgspec.structs.replace(pod, logs=logs)


def entry(at: str, path: str, old: str, new: str, user: str = "alice", **more: Any) -> dict[str, Any]:
    """Return an entry of the ledger about one changed field, as JSON has it."""
    return {
        "id": at,
        "at": at,
        "operation": "UPDATE",
        "user": {"username": user},
        "field_manager": "kubectl-edit",
        "changes": [{"path": path, "op": "replace", "old": old, "new": new}],
    } | more


def failed_job(**keywords: Any) -> FailedJob:
    """Return the recorded Job of a CronJob, with everything that may be known of it."""
    document = recorded("k8s-1.20/job-of-cron-job")
    events = recorded("k8s-1.20/events")["items"]
    container = "spec.jobTemplate.spec.template.spec.containers[main]"
    known: dict[str, Any] = {
        "document": REDACTOR.object("Job", document),
        "failure": failure_of(document),
        "events": read_events([each for each in events if each["involvedObject"]["name"] == JOB], REDACTOR),
        "pods": (
            with_logs(
                recorded_pod(),
                Log(container="main", text="reading orders\ncannot reach the ledger\n", cut=True, whole_run=True),
                Log(container="proxy", text="listening\n"),
                Log(container="fetch", note="the kubelet does not answer", whole_run=True),
            ),
        ),
        "cron_job": REDACTOR.object("CronJob", recorded("k8s-1.20/cron-job")),
        "owner": "CronJob shop/nightly",
        "owner_changes": read_changes(
            [
                entry("2026-11-22T10:36:09.000000Z", f"{container}.image", "registry.example/import:6", "import:7"),
                entry("2026-11-22T10:40:00.000000Z", "metadata.labels.team", "data", "shop", user="bob"),
            ]
        ),
    }
    return FailedJob(**known | keywords)
