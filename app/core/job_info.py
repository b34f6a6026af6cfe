"""Job information: what a failed Job was meant to do, how far it got, and where it comes from, as one table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from app.core.durations import precise, written
from app.core.finding import TableBlock
from app.core.job_events import CELL_LIMIT
from app.core.jobs import FAILED, Failure
from app.core.raw import at, items, mapping, moment, number, string
from app.core.text import one_line

NONE: Final = "none"
"""Stands for a request or a limit that is not set, and for an image that nobody knows."""

CONTAINERS_SHOWN: Final = 20
RULES_SHOWN: Final = 20

Row = tuple[str, str]


def info_table(
    document: Mapping[str, Any], failure: Failure, when: datetime, *, owner: str, cron_job: Mapping[str, Any] | None
) -> TableBlock:
    """Return what a person asks first, of a Job that failed at `when`. Total on any document."""
    rows = [
        *_outcome(document, failure),
        *_limits(mapping(document, "spec"), mapping(document, "status")),
        *_rules(document),
        ("duration", _duration(document, when)),
        *_origin(owner, cron_job),
        *_containers(document),
    ]
    shown = tuple((name, one_line(value, CELL_LIMIT)) for name, value in rows if value)
    return TableBlock(headers=("description", "value"), rows=shown, title="Job information")


def _outcome(document: Mapping[str, Any], failure: Failure) -> Iterator[Row]:
    status = mapping(document, "status")
    succeeded, wanted = number(status, "succeeded") or 0, number(document, "spec", "completions")
    yield "status", f"{FAILED} ({failure.reason})" if failure.reason else FAILED
    yield "message", failure.message
    yield "completions", f"{succeeded} (no number is asked for)" if wanted is None else f"{succeeded}/{wanted}"
    yield "failures", str(number(status, "failed") or 0)


def _limits(spec: Mapping[str, Any], status: Mapping[str, Any]) -> Iterator[Row]:
    yield "backoffLimit", _count(spec, "backoffLimit")
    yield "backoffLimitPerIndex", _count(spec, "backoffLimitPerIndex")
    yield "maxFailedIndexes", _count(spec, "maxFailedIndexes")
    yield "failed indexes", string(status, "failedIndexes")
    yield "completed indexes", string(status, "completedIndexes")
    yield "parallelism", _count(spec, "parallelism")
    seconds = number(spec, "activeDeadlineSeconds")
    yield "activeDeadlineSeconds", "" if seconds is None else str(seconds)
    yield "suspended", "yes" if spec.get("suspend") is True else ""
    yield "managed by", string(spec, "managedBy")
    yield "Pods still terminating", _count(status, "terminating").lstrip("0")


def _count(document: Mapping[str, Any], key: str) -> str:
    count = number(document, key)
    return "" if count is None else str(count)


def _rules(document: Mapping[str, Any]) -> Iterator[Row]:
    """Yield the rules of the podFailurePolicy, numbered as the messages of the Job controller number them."""
    rules = items(document, "spec", "podFailurePolicy", "rules")
    for index, rule in enumerate(rules[:RULES_SHOWN]):
        yield f"podFailurePolicy rule {index}", f"{string(rule, 'action')} {_requirement(rule)}".strip()


def _requirement(rule: Any) -> str:
    codes = mapping(rule, "onExitCodes")
    if codes:
        container = string(codes, "containerName")
        values = ", ".join(str(value) for value in items(codes, "values")[:255] if type(value) is int)
        return f"on exit codes {string(codes, 'operator')} {values}{f' of {container}' if container else ''}"
    conditions = (
        f"{string(each, 'type')}={string(each, 'status') or 'True'}" for each in items(rule, "onPodConditions")
    )
    return f"on Pod conditions {', '.join(conditions)}"


def _duration(document: Mapping[str, Any], when: datetime) -> str:
    started = moment(string(document, "status", "startTime"))
    if started is None:
        return f"never started, failed {written(when)}"
    return f"{precise(when - started)} ({written(started)} to {written(when)})"


def _origin(owner: str, cron_job: Mapping[str, Any] | None) -> Iterator[Row]:
    yield "owner", owner
    if cron_job is None:
        return
    zone = string(cron_job, "spec", "timeZone")
    yield "schedule", f"{string(cron_job, 'spec', 'schedule')}{f' ({zone})' if zone else ''}"
    yield "schedule suspended", "yes" if at(cron_job, "spec", "suspend") is True else "no"
    yield "last schedule", string(cron_job, "status", "lastScheduleTime")
    yield "last success", string(cron_job, "status", "lastSuccessfulTime")


def _containers(document: Mapping[str, Any]) -> Iterator[Row]:
    spec = mapping(document, "spec", "template", "spec")
    every = [(_role(each), each) for each in items(spec, "initContainers")]
    every += [("container", each) for each in items(spec, "containers")]
    for role, container in every[:CONTAINERS_SHOWN]:
        yield from _container(role, container)
    if len(every) > CONTAINERS_SHOWN:
        yield "containers", f"{len(every) - CONTAINERS_SHOWN} more are not shown"


def _role(init_container: Any) -> str:
    return "sidecar container" if string(init_container, "restartPolicy") == "Always" else "init container"


def _container(role: str, container: Any) -> Sequence[Row]:
    return (
        (role, string(container, "name") or NONE),
        ("image", string(container, "image") or NONE),
        ("cpu (request/limit)", _request_and_limit(container, "cpu")),
        ("memory (request/limit)", _request_and_limit(container, "memory")),
    )


def _request_and_limit(container: Any, resource: str) -> str:
    """Return the quantities as they are written; YAML's plain numbers arrive as numbers."""
    amounts = (at(container, "resources", kind, resource) for kind in ("requests", "limits"))
    return "/".join(str(amount) if isinstance(amount, str | int) else NONE for amount in amounts)
