"""Turns a failed Job into an entry with findings, ready for the journal."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from app.core.change import Actor, Entry, FieldChange, FindingSummary, Resource, User
from app.core.delivery import Addressee
from app.core.identity import EntryIds
from app.core.job_report import FailedJob, blocks
from app.core.playbook import FailedJobSituation, Playbooks, RoutedFinding
from app.core.redact import Redactor
from app.core.templates import Look
from app.store.encoding import entry_row, finding_body
from app.store.journal import FindingRow, Record

OPERATION: Final = "FAILED"


class FailureRules(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says, compiled; replaced as a whole when the configuration changes."""

    playbooks: Playbooks
    redactor: Redactor
    cluster: str


def job_facts(document: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return what scopes may ask about a redacted Job."""
    metadata = _mapping(document.get("metadata"))
    return {
        "name": str(metadata.get("name", "")),
        "namespace": str(metadata.get("namespace", "")),
        "kind": "Job",
        "labels": redactor.strings(_strings(metadata.get("labels"))),
        "annotations": redactor.strings(_strings(metadata.get("annotations"))),
        "attributes": document,
        "node": "",
        "user": "",
        "group": (),
        "operation": OPERATION,
        "path": ["status.conditions[Failed]"],
        "field_manager": "",
        "actor": "controller",
        "api_group": "batch",
        "resource": "jobs",
        "subresource": "",
    }


def situation_of(
    failed: FailedJob, rules: FailureRules, withheld: Collection[str], now: datetime
) -> FailedJobSituation:
    """Return a failed Job as playbooks see it; `withheld` names those whose rate limit is used up."""
    facts = job_facts(failed.document, rules.redactor)
    return FailedJobSituation(
        facts=facts,
        look=_look(facts, rules.cluster),
        account=_account(failed),
        enriched=lambda enricher: blocks(enricher, failed, now),
        withheld=withheld,
        at=now,
    )


def findings_of(
    failed: FailedJob, rules: FailureRules, withheld: Collection[str], now: datetime
) -> list[RoutedFinding]:
    """Return what the playbooks say about a failed Job, but for those whose rate limit is used up."""
    return rules.playbooks.evaluate_failed_job(situation_of(failed, rules, withheld, now), rules.redactor)


def record_of(
    failed: FailedJob,
    routed: Collection[RoutedFinding],
    rules: FailureRules,
    ids: EntryIds,
    random: Callable[[], int],
    now: datetime,
) -> Record:
    """Return the entry of a failed Job with its findings; to be appended at once, so that ids keep their order."""
    sequence, entry_id = ids.next(int(now.timestamp() * 1000), random())
    entry = _entry(entry_id, now, failed, routed, rules)
    findings = (
        FindingRow(ordinal, finding_body(each.finding), tuple(map(Addressee, each.sinks)))
        for ordinal, each in enumerate(routed)
    )
    return Record(entry_row(sequence, entry), tuple(findings))


def _entry(
    entry_id: str, now: datetime, failed: FailedJob, routed: Collection[RoutedFinding], rules: FailureRules
) -> Entry:
    metadata = _mapping(failed.document.get("metadata"))
    group, _, version = str(failed.document.get("apiVersion") or "batch/v1").rpartition("/")
    return Entry(
        id=entry_id,
        at=now.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        cluster=rules.cluster,
        operation=OPERATION,
        outcome="observed",
        resource=Resource(
            group=group,
            version=version,
            kind="Job",
            resource="jobs",
            namespace=str(metadata.get("namespace", "")),
            name=str(metadata.get("name", "")),
            uid=str(metadata.get("uid", "")),
        ),
        user=User(),
        actor=Actor(kind="controller"),
        labels=rules.redactor.strings(_strings(metadata.get("labels"))),
        changes=(FieldChange("status.conditions[Failed]", "add", new=_condition(failed)),),
        findings=tuple(
            FindingSummary(each.finding.playbook, each.finding.title, each.finding.severity.value) for each in routed
        ),
        object=failed.document,
    )


def _condition(failed: FailedJob) -> str:
    reason = failed.failure.reason or "Failed"
    return f"{reason}: {failed.failure.message}" if failed.failure.message else reason


def _account(failed: FailedJob) -> str:
    return f"The Job failed for good: {_condition(failed)}."


def _look(facts: Mapping[str, Any], cluster: str) -> Look:
    values = {key: facts[key] for key in ("name", "namespace", "kind", "user", "node")}
    values |= {"operation": OPERATION.lower(), "cluster": cluster}

    def look(variable: str) -> str:
        head, _, key = variable.partition(".")
        return str(facts[head].get(key, "") if key else values[variable])

    return look


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _strings(value: Any) -> dict[str, str]:
    return {key: each for key, each in _mapping(value).items() if isinstance(each, str)}
