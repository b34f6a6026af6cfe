"""What a failed Job is, in every version of Kubernetes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.jobs import Failure, JobHead, failure, is_finished, owner
from tests.core.recorded_jobs import failure_of, head, recorded

AT = "2026-03-04T05:06:07Z"
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def job(*conditions: dict[str, Any]) -> JobHead:
    return head({"metadata": {"name": "nightly"}, "status": {"conditions": list(conditions)}})


def condition(kind: str = "Failed", status: str = "True", **more: Any) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": "BackoffLimitExceeded", "message": "gave up"} | more


@pytest.mark.parametrize(
    ("name", "reason", "at"),
    [
        ("k8s-1.20/job-backoff-limit", "BackoffLimitExceeded", "2026-11-22T10:47:32Z"),
        ("k8s-1.20/job-deadline", "DeadlineExceeded", "2026-11-22T10:47:29Z"),
        ("k8s-1.20/job-hungry", "BackoffLimitExceeded", "2026-11-22T10:47:23Z"),
        ("k8s-1.20/job-of-cron-job", "BackoffLimitExceeded", "2026-11-22T10:48:09Z"),
        ("published/backoff-limit", "BackoffLimitExceeded", "2026-04-26T18:47:32Z"),
        ("published/deadline", "DeadlineExceeded", "2025-04-15T20:02:40Z"),
        ("published/failed-indexes", "FailedIndexes", None),
        ("published/pod-failure-policy", "PodFailurePolicy", None),
    ],
)
def test_a_recorded_job_failed_when_and_why_its_condition_says(name: str, reason: str, at: str | None) -> None:
    found = failure_of(recorded(name))

    assert found.reason == reason
    assert found.at == (datetime.fromisoformat(at) if at else None)
    assert is_finished(head(recorded(name)))


@pytest.mark.parametrize(
    ("name", "finished"),
    [
        ("k8s-1.20/job-running", False),
        ("k8s-1.20/job-complete", True),
        ("published/active", False),
        ("published/complete", True),
    ],
)
def test_a_recorded_job_that_runs_or_completed_has_not_failed(name: str, finished: bool) -> None:
    read = head(recorded(name))

    assert failure(read) is None
    assert is_finished(read) is finished


@pytest.mark.parametrize("reason", ["MaxFailedIndexesExceeded", "PodFailurePolicy", "SomethingOfTomorrow", ""])
def test_any_reason_is_a_failure(reason: str) -> None:
    assert failure(job(condition("FailureTarget"), condition(reason=reason))) == Failure(
        reason=reason, message="gave up"
    )


@pytest.mark.parametrize(
    "conditions",
    [
        [],
        [condition("FailureTarget")],
        [condition("SuccessCriteriaMet")],
        [condition("Suspended")],
        [condition(status="False")],
        [condition(status="Unknown")],
        [condition(status="")],
        [condition("failed")],
    ],
)
def test_nothing_but_a_true_failed_condition_is_a_failure(conditions: list[dict[str, Any]]) -> None:
    assert failure(job(*conditions)) is None
    assert not is_finished(job(*conditions))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ({"lastTransitionTime": AT, "lastProbeTime": "2020-01-01T00:00:00Z"}, AT),
        ({"lastTransitionTime": None, "lastProbeTime": AT}, AT),
        ({"lastTransitionTime": "soon", "lastProbeTime": AT}, AT),
        ({"lastTransitionTime": "2026-03-04T07:06:07+02:00"}, AT),
        ({"lastTransitionTime": "0001-01-01T00:00:00+23:00", "lastProbeTime": AT}, AT),
    ],
)
def test_the_time_is_that_of_the_transition_else_of_the_probe(times: dict[str, Any], expected: str) -> None:
    found = failure(job(condition(**times)))

    assert found is not None
    assert found.at == datetime.fromisoformat(expected)
    assert found.at.tzinfo is UTC


def test_a_job_without_a_time_leaves_it_to_the_clock() -> None:
    assert failure(job(condition())) == Failure(reason="BackoffLimitExceeded", message="gave up", at=None)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"status": None},
        {"status": {}},
        {"status": {"conditions": None}},
        {"metadata": {"ownerReferences": None, "deletionTimestamp": None, "creationTimestamp": None}},
        {"metadata": {"managedFields": [{"x": 1}]}, "spec": {"template": []}, "status": {"conditions": []}, "new": 1},
    ],
)
def test_what_is_null_or_absent_reads_as_nothing(document: dict[str, Any]) -> None:
    assert failure(head(document)) is None
    assert owner(head(document)) is None


def test_the_controller_owns_the_job() -> None:
    found = owner(head(recorded("k8s-1.20/job-of-cron-job")))

    assert found is not None
    assert (found.group, found.kind, found.name) == ("batch", "CronJob", "nightly")


def test_an_owner_that_does_not_manage_it_is_none() -> None:
    references = [{"kind": "ConfigMap", "name": "x"}, {"kind": "Workflow", "name": "y", "controller": False}]

    assert owner(head({"metadata": {"ownerReferences": references}})) is None


@given(st.fixed_dictionaries({}, optional={"metadata": JSON_VALUES, "status": JSON_VALUES, "spec": JSON_VALUES}))
def test_any_document_is_read_or_refused_as_invalid(document: dict[str, Any]) -> None:
    try:
        read = msgspec.json.decode(json.dumps(document), type=JobHead)
    except msgspec.ValidationError:
        return

    assert failure(read) is None or is_finished(read)
