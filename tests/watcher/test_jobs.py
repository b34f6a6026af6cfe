"""The tracker says of each Job once that it runs, and what became of it, and keeps nothing of those that ended."""

from __future__ import annotations

import gc
import json
import tracemalloc
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
import structlog

from app.watcher.jobs import FailedCandidate, JobTracker
from tests.core.recorded_jobs import recorded

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def raw(document: Any) -> msgspec.Raw:
    return msgspec.Raw(json.dumps(document).encode())


def job(name: str = "import", *conditions: dict[str, Any], uid: str = "", **spec: Any) -> msgspec.Raw:
    """A Job as a watch shows it; its uid is `uid-` and its name."""
    metadata = {
        "uid": uid or f"uid-{name}",
        "name": name,
        "namespace": "shop",
        "creationTimestamp": "2026-11-22T11:50:00Z",
    }
    return raw({"metadata": metadata, "spec": spec, "status": {"conditions": list(conditions)}})


def condition(kind: str, at: str = "2026-11-22T11:59:00Z", status: str = "True") -> dict[str, Any]:
    return {"type": kind, "status": status, "lastTransitionTime": at, "reason": "BackoffLimitExceeded"}


FAILED = condition("Failed")
COMPLETE = condition("Complete")


class Heard:
    """What the tracker says, in order."""

    def __init__(self) -> None:
        self.said: list[tuple[str, str]] = []
        self.failures: list[FailedCandidate] = []

    def opened(self, job_uid: str) -> None:
        self.said.append(("opened", job_uid))

    def decided(self, job_uid: str) -> None:
        self.said.append(("decided", job_uid))

    def failed(self, candidate: FailedCandidate) -> None:
        self.said.append(("failed", candidate.uid))
        self.failures.append(candidate)


class Tracked:
    def __init__(self, max_age: timedelta = HOUR) -> None:
        self.heard = Heard()
        self.now = NOW
        self.too_old: list[int] = []
        self.tracker = JobTracker(self.heard, max_age, lambda: self.now, too_old=self.too_old.append)

    def lists(self, *jobs: msgspec.Raw) -> None:
        self.tracker.begin()
        for each in jobs:
            self.tracker.listed(each)
        self.tracker.end()

    @property
    def said(self) -> list[tuple[str, str]]:
        return self.heard.said


@pytest.fixture
def tracked() -> Tracked:
    return Tracked()


def test_a_job_that_runs_is_open_and_is_said_to_be_once(tracked: Tracked) -> None:
    tracked.lists(job())
    tracked.tracker.changed("MODIFIED", job())
    tracked.lists(job())

    assert tracked.said == [("opened", "uid-import")]
    assert tracked.tracker.is_open("uid-import")


def test_a_job_that_fails_is_handed_over_as_it_was_seen(tracked: Tracked) -> None:
    tracked.lists()
    tracked.tracker.changed("ADDED", job())
    tracked.tracker.changed("MODIFIED", failed := job("import", FAILED))

    assert tracked.said == [("opened", "uid-import"), ("failed", "uid-import")]
    (candidate,) = tracked.heard.failures
    assert (candidate.namespace, candidate.name, candidate.listed) == ("shop", "import", False)
    assert candidate.failed_at == datetime(2026, 11, 22, 11, 59, tzinfo=UTC)
    assert candidate.read() == bytes(failed)
    assert not tracked.tracker.is_open("uid-import")


def test_a_job_that_completes_is_decided_once(tracked: Tracked) -> None:
    tracked.lists(job())
    for _ in range(2):
        tracked.tracker.changed("MODIFIED", job("import", COMPLETE))

    assert tracked.said == [("opened", "uid-import"), ("decided", "uid-import")]


def test_a_job_that_is_deleted_while_it_runs_is_decided(tracked: Tracked) -> None:
    tracked.lists(job())
    tracked.tracker.changed("DELETED", job())

    assert tracked.said[1:] == [("decided", "uid-import")]
    assert not tracked.tracker.is_open("uid-import")


def test_a_failure_of_which_only_the_deletion_is_seen_is_handed_over(tracked: Tracked) -> None:
    tracked.lists()
    tracked.tracker.changed("DELETED", job("import", FAILED))

    assert tracked.said == [("failed", "uid-import")]


@pytest.mark.parametrize("name", ["FailureTarget", "SuccessCriteriaMet", "Suspended"])
def test_a_condition_that_only_announces_leaves_the_job_open(tracked: Tracked, name: str) -> None:
    tracked.lists(job())
    tracked.tracker.changed("MODIFIED", job("import", condition(name)))
    assert tracked.tracker.is_open("uid-import")

    tracked.tracker.changed("MODIFIED", job("import", condition(name, "2026-11-22T11:58:00Z"), FAILED))

    assert tracked.said == [("opened", "uid-import"), ("failed", "uid-import")]
    assert tracked.heard.failures[0].failed_at.minute == 59


def test_a_condition_that_is_not_true_is_none(tracked: Tracked) -> None:
    tracked.lists(job("import", condition("Failed", status="False"), condition("Suspended", status="False")))

    assert tracked.said == [("opened", "uid-import")]


def test_a_job_made_again_under_the_same_name_is_another(tracked: Tracked) -> None:
    tracked.lists(job(uid="first"))
    tracked.tracker.changed("DELETED", job(uid="first"))
    tracked.tracker.changed("ADDED", job(uid="second"))
    tracked.tracker.changed("MODIFIED", job("import", FAILED, uid="second"))

    assert tracked.said == [("opened", "first"), ("decided", "first"), ("opened", "second"), ("failed", "second")]


def test_a_list_makes_up_for_events_that_were_missed(tracked: Tracked) -> None:
    tracked.lists(job("runs"), job("fails"), job("completes"), job("vanishes"))
    del tracked.said[:]

    tracked.lists(job("runs"), job("fails", FAILED), job("completes", COMPLETE), job("new"))

    assert sorted(tracked.said) == [
        ("decided", "uid-completes"),
        ("decided", "uid-vanishes"),
        ("failed", "uid-fails"),
        ("opened", "uid-new"),
    ]
    assert [
        name for name in ("runs", "fails", "completes", "vanishes", "new") if tracked.tracker.is_open(f"uid-{name}")
    ] == ["runs", "new"]


def test_a_list_that_breaks_off_takes_nothing_for_gone(tracked: Tracked) -> None:
    tracked.lists(job("first"), job("second"))
    tracked.tracker.begin()
    tracked.tracker.listed(job("first"))

    tracked.lists(job("second"), job("first"))

    assert ("decided", "uid-first") not in tracked.said
    assert ("decided", "uid-second") not in tracked.said


def test_what_only_a_list_that_broke_off_named_is_gone(tracked: Tracked) -> None:
    tracked.lists(job())
    tracked.tracker.begin()
    tracked.tracker.listed(job())

    tracked.lists()

    assert tracked.said[1:] == [("decided", "uid-import")]


def test_a_job_that_fails_while_a_list_goes_on_is_not_taken_for_gone(tracked: Tracked) -> None:
    tracked.lists(job())
    tracked.lists(job("import", FAILED))

    assert tracked.said == [("opened", "uid-import"), ("failed", "uid-import")]


def test_only_what_the_first_list_names_failed_before_the_start(tracked: Tracked) -> None:
    tracked.lists(job("before", FAILED))
    tracked.tracker.changed("ADDED", job("after", FAILED))
    tracked.lists(job("before", FAILED))

    assert [(each.name, each.listed) for each in tracked.heard.failures] == [
        ("before", True),
        ("after", False),
        ("before", False),
    ]


def test_what_failed_too_long_ago_is_not_handed_over_and_the_newest_is_remembered(tracked: Tracked) -> None:
    old = ["2026-11-22T09:00:00Z", "2026-11-22T10:59:59Z", "2026-11-22T10:00:00Z"]
    tracked.lists(*(job(at, condition("Failed", at)) for at in old))

    assert tracked.said == []
    assert tracked.tracker.newest_too_old == datetime(2026, 11, 22, 10, 59, 59, tzinfo=UTC)


def old(name: str, at: str = "2026-11-22T10:00:00Z") -> msgspec.Raw:
    return job(name, condition("Failed", at))


def test_what_failed_too_long_ago_is_counted_once_however_often_it_is_listed(tracked: Tracked) -> None:
    tracked.tracker.begin()
    tracked.tracker.listed(old("first"))
    tracked.lists(old("first"), old("second"), job("import", FAILED))
    tracked.tracker.changed("MODIFIED", old("first"))
    tracked.lists(old("first"), old("second"))

    assert tracked.too_old == [2]


def test_what_was_handed_over_is_not_counted_when_it_has_grown_old(tracked: Tracked) -> None:
    tracked.lists(job("listed", FAILED))
    tracked.now = NOW + timedelta(minutes=1)
    tracked.tracker.changed("ADDED", old("watched", "2026-11-22T12:00:30Z"))
    tracked.now = NOW + 3 * HOUR
    tracked.lists(job("listed", FAILED), old("watched", "2026-11-22T12:00:30Z"))

    assert tracked.too_old == []


def test_what_grew_old_while_the_api_server_was_away_is_counted_once(tracked: Tracked) -> None:
    tracked.lists()
    tracked.now = NOW + 3 * HOUR
    for _ in range(2):
        tracked.lists(old("unseen", "2026-11-22T12:30:00Z"))

    assert tracked.too_old == [1]


def test_a_job_that_was_open_is_handed_over_whenever_it_failed_so_that_its_evidence_is_let_go(
    tracked: Tracked,
) -> None:
    tracked.lists(job())
    tracked.lists(job("import", condition("Failed", "2026-11-22T09:00:00Z")))

    assert tracked.said[1:] == [("failed", "uid-import")]
    assert tracked.tracker.newest_too_old is None


def test_a_failure_without_a_time_has_that_of_the_creation_at_every_look(tracked: Tracked) -> None:
    for _ in range(2):
        tracked.lists(job("import", {"type": "Failed", "status": "True"}))

    assert {each.failed_at for each in tracked.heard.failures} == {datetime(2026, 11, 22, 11, 50, tzinfo=UTC)}


ODD = [
    b"[]",
    b"null",
    b'"Job"',
    b"{}",
    b'{"metadata": {"name": "no-uid"}}',
    b'{"metadata": {"uid": 7}}',
    b'{"metadata": {"uid": "a"}, "status": {"conditions": {"type": "Failed"}}}',
    b'{"metadata": {"uid": "a", "ownerReferences": [7]}}',
    b'{"metadata": {"uid": "\xff"}}',
    b'{"metadata": {"uid": "a"',
    b'{"spec": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
]


@pytest.mark.parametrize("odd", ODD, ids=range(len(ODD)))
def test_what_is_no_job_is_skipped_and_hides_no_other(tracked: Tracked, odd: bytes) -> None:
    with structlog.testing.capture_logs() as logs:
        tracked.lists(msgspec.Raw(odd), job("good"))

    assert tracked.said == [("opened", "uid-good")]
    assert [each["event"] for each in logs] == ["job not understood"]


def test_nothing_is_kept_of_jobs_that_ended() -> None:
    tracked = Tracked()
    finished = [job(f"done-{number}", COMPLETE) for number in range(5000)]
    finished += [job(f"old-{number}", condition("Failed", "2026-11-22T09:00:00Z")) for number in range(5000)]
    tracked.lists(*finished[:10])
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]

    for _ in range(2):
        tracked.lists(*finished)
    for number in range(5000):
        tracked.tracker.changed("ADDED", job(f"short-{number}"))
        tracked.tracker.changed("MODIFIED", job(f"short-{number}", COMPLETE))
    del tracked.said[:]

    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20_000


FILES = {
    "k8s-1.20/job-backoff-limit": "failed",
    "k8s-1.20/job-deadline": "failed",
    "k8s-1.20/job-of-cron-job": "failed",
    "published/pod-failure-policy": "failed",
    "published/failed-indexes": "failed",
    "k8s-1.20/job-running": "opened",
    "published/active": "opened",
    "k8s-1.20/job-complete": None,
    "published/complete": None,
}


@pytest.mark.parametrize("name", FILES)
def test_recorded_jobs_are_what_they_are(name: str) -> None:
    tracked = Tracked(max_age=timedelta(days=36500))
    document = recorded(name)
    # What is published was shortened.
    document["metadata"].setdefault("uid", "published")
    tracked.lists(raw(document))

    assert [what for what, _ in tracked.said] == ([FILES[name]] if FILES[name] else [])
