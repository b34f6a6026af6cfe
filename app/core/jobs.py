"""Jobs: the little that is always read of one, and whether, why and when it failed for good."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from app.core.raw import moment

COMPLETE: Final = "Complete"
FAILED: Final = "Failed"
"""Condition types that end a Job. `FailureTarget` and `SuccessCriteriaMet` only announce them: Pods still run then."""


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One condition of a Job. Times are RFC 3339, as the API server writes them."""

    type: str = ""
    status: str = ""
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None
    last_probe_time: str | None = None


class OwnerReference(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What an object belongs to; the one with `controller` manages it."""

    api_version: str = ""
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool | None = None

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]


class JobMetadata(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Which Job it is. Times are RFC 3339, as the API server writes them."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    creation_timestamp: str | None = None
    owner_references: tuple[OwnerReference, ...] | None = None


class JobStatus(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How far it is."""

    conditions: tuple[Condition, ...] | None = None


class JobHead(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is read of every Job; the rest of the document is skipped.

    Any JSON object decodes in which these fields, if they are there, have the types of the batch/v1 API; all else
    raises `msgspec.ValidationError`.
    """

    metadata: JobMetadata = JobMetadata()
    status: JobStatus | None = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why and when a Job failed for good. `at` is UTC, and None where the Job does not say: take the clock's time."""

    reason: str = ""
    message: str = ""
    at: datetime | None = None


def failure(job: JobHead) -> Failure | None:
    """Return the failure of a Job that failed for good, whatever the reason; None of any other."""
    for condition in _true(job):
        if condition.type == FAILED:
            at = moment(condition.last_transition_time or "") or moment(condition.last_probe_time or "")
            return Failure(reason=condition.reason or "", message=condition.message or "", at=at)
    return None


def is_finished(job: JobHead) -> bool:
    """Say whether the Job completed or failed for good: it stays so."""
    return any(condition.type in {COMPLETE, FAILED} for condition in _true(job))


def owner(job: JobHead) -> OwnerReference | None:
    """Return what manages the Job, such as its CronJob; None for a Job of its own."""
    owners = job.metadata.owner_references or ()
    return next((each for each in owners if each.controller), None)


def _true(job: JobHead) -> Iterator[Condition]:
    conditions = (job.status and job.status.conditions) or ()
    return (condition for condition in conditions if condition.status == "True")
