"""The report of a failed Job: all that is known of it, and the blocks that the enrichers of a playbook attach.

Every text in a `FailedJob` is redacted already; what comes from strangers is made harmless and short here.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, Literal

import msgspec

from app.core.actions import JobEnricher, JobEventsEnricher, JobInfoEnricher, JobPodEnricher
from app.core.evidence import PodEvidence
from app.core.finding import Block, TextBlock
from app.core.job_events import CELL_LIMIT, EventLine, events_table
from app.core.job_info import info_table
from app.core.job_pods import log_blocks, pods_table
from app.core.jobs import Failure
from app.core.raw import string
from app.core.recorded_changes import RecordedChange, changes_blocks
from app.core.text import one_line

Topic = Literal["job", "events", "pods", "logs", "cron_job", "changes"]

_INFO: Final[frozenset[Topic]] = frozenset({"job", "cron_job", "changes"})
_EVENTS: Final[frozenset[Topic]] = frozenset({"events"})
_PODS: Final[frozenset[Topic]] = frozenset({"pods", "logs"})


class Note(msgspec.Struct, frozen=True):
    """What could not be learnt of a failed Job, and why, in one sentence that says what to do.

    Such as `Events could not be read: forbidden; the watcher's role needs the verb list on events.`
    """

    topic: Topic
    text: str


class FailedJob(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a failed Job, redacted.

    `document` is the whole Job, `cron_job` the CronJob that owns it. `events` are about the Job, `pod_events` about
    its Pods (`name` says which), both as `read_events` returns them. `pods` are ordered by their creation, newest
    last. `owner` reads `CronJob shop/nightly`, and is empty for a Job of its own. `owner_changes` are those of the
    owner, or else of the Job, as `read_changes` returns them.
    """

    document: dict[str, Any]
    failure: Failure
    events: tuple[EventLine, ...] = ()
    pods: tuple[PodEvidence, ...] = ()
    pod_events: tuple[EventLine, ...] = ()
    cron_job: dict[str, Any] | None = None
    owner: str = ""
    owner_changes: tuple[RecordedChange, ...] = ()
    notes: tuple[Note, ...] = ()


def blocks(enricher: JobEnricher, failed: FailedJob, now: datetime) -> tuple[Block, ...]:
    """Return what the enricher attaches to a finding about this Job; total on any document.

    `now` stands in for the time of the failure where the Job does not say it. Cells have at most 1,000 characters,
    the logs together at most 256 KiB, and whatever is left out is counted.
    """
    at = failed.failure.at or now
    match enricher:
        case JobPodEnricher():
            return tuple(_pods(enricher, failed, at))
        case JobEventsEnricher():
            return tuple(_events(enricher, failed, at))
        case JobInfoEnricher():
            return tuple(_info(failed, at))
    raise TypeError(f"{type(enricher).__name__} does not say what to attach")


def _info(failed: FailedJob, at: datetime) -> Iterator[Block]:
    told = changes_blocks(failed.owner or _itself(failed), failed.owner_changes, at)
    sentences = [block for block in told if isinstance(block, TextBlock)]
    yield from sentences[:1]
    yield info_table(failed.document, failed.failure, at, owner=failed.owner, cron_job=failed.cron_job)
    yield from (block for block in told if block not in sentences[:1])
    yield from _notes(failed, _INFO)


def _events(enricher: JobEventsEnricher, failed: FailedJob, at: datetime) -> Iterator[Block]:
    shown = events_table(
        "Job events", failed.events, at=at, types=enricher.included_types, limit=enricher.max_events, named=False
    )
    notes = tuple(_notes(failed, _EVENTS))
    yield from shown or notes or (TextBlock("No events of the Job were found: Kubernetes keeps them for an hour."),)
    if shown:
        yield from notes


def _pods(enricher: JobPodEnricher, failed: FailedJob, at: datetime) -> Iterator[Block]:
    notes = tuple(_notes(failed, _PODS))
    yield from pods_table(failed.pods)
    if not failed.pods and not notes:
        yield TextBlock("No Pods of the Job are known: it had none, or they were gone before they were seen.")
    if enricher.events:
        yield from events_table(
            "Pod events", failed.pod_events, at=at, types=enricher.included_types, limit=enricher.max_events, named=True
        )
        yield from _notes(failed, _EVENTS)
    yield from notes
    if enricher.logs:
        yield from log_blocks(failed.pods, enricher)


def _itself(failed: FailedJob) -> str:
    metadata = failed.document.get("metadata")
    return f"Job {string(metadata, 'namespace')}/{string(metadata, 'name')}"


def _notes(failed: FailedJob, topics: frozenset[Topic]) -> Iterator[Block]:
    return (TextBlock(one_line(note.text, CELL_LIMIT)) for note in failed.notes if note.topic in topics)
