"""Explanations: what playbooks and sinks make of a change or a failed Job, and why the others do not.

Nothing is decided here. The same code decides as for a change that comes in (`Playbooks.hear`, `routing.decide`), and
each refusal is put into words by what refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

import msgspec

from app.core.annotations import Annotations, carried
from app.core.drafts import Draft
from app.core.facts import is_known
from app.core.finding import Finding
from app.core.firing import Condition, Firing, GroupKind, S
from app.core.kinds import canonical
from app.core.matching import Facts
from app.core.playbook import (
    CompiledPlaybook,
    FailedJobSituation,
    Heard,
    Playbooks,
    RoutedFinding,
    finding_of,
    is_addressed,
)
from app.core.redact import Redactor
from app.core.refusal import Refusal, scope_refusal
from app.core.review import Change
from app.core.routing import Routes, decide, finding_facts, refusal
from app.core.triggers import JOB_FAILURE

_KINDS_SHOWN: Final = 4


class TriggerVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a trigger fires, and if not, what kept it from that first.

    `undecided` are attributes that are not known, and would have to be for this to be certain.
    """

    trigger: str
    fires: bool
    refusal: Refusal | None = None
    undecided: tuple[str, ...] = ()


class SinkVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a sink takes a finding, and if not, which rule decided; `undecided` as for triggers."""

    sink: str
    takes: bool
    refusal: Refusal | None = None
    undecided: tuple[str, ...] = ()


class FindingVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What a playbook tells, of which type, and what every sink makes of it, in the order of the configuration."""

    finding: Finding
    type: str
    sinks: tuple[SinkVerdict, ...]

    @property
    def told(self) -> RoutedFinding:
        """The finding with the sinks that take it."""
        return RoutedFinding(self.finding, tuple(each.sink for each in self.sinks if each.takes))


class PlaybookVerdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether a playbook fires, and what it tells; `refusals` say why it fired and told nothing, or was not asked."""

    playbook: str
    fires: bool
    triggers: tuple[TriggerVerdict, ...]
    refusals: tuple[Refusal, ...] = ()
    undecided: tuple[str, ...] = ()
    findings: tuple[FindingVerdict, ...] = ()


class Explanation(msgspec.Struct, frozen=True):
    """What every playbook made of it, in the order of the configuration."""

    playbooks: tuple[PlaybookVerdict, ...]

    @property
    def told(self) -> list[RoutedFinding]:
        """What is told, and to whom: the same as the evaluation says."""
        return [finding.told for playbook in self.playbooks for finding in playbook.findings]


def explain(
    playbooks: Playbooks, change: Change, redactor: Redactor, cluster: str, now: datetime | None = None
) -> Explanation:
    """Explain what `Playbooks.evaluate` says about a change."""
    notes: list[tuple[CompiledPlaybook, Refusal]] = []

    def silent(playbook: CompiledPlaybook, rule: str, text: str) -> None:
        notes.append((playbook, Refusal(rule, text)))

    place = (change.resource.group, change.resource.kind.lower())
    concerned = {
        index: narrowed
        for index, playbook in enumerate(playbooks.playbooks)
        if (narrowed := playbook.narrowed(change.operation, place)) is not None
    }
    heard = dict(zip(concerned, playbooks.hear(concerned.values(), change, redactor, cluster, silent), strict=False))
    asked = _asked(playbooks, playbooks.facts(change), redactor, now)
    return Explanation(
        tuple(
            _verdict(
                asked,
                heard.get(index) or Heard(playbook, fired=False),
                triggers=tuple(_change_triggers(playbook, change, place)),
                notes=[note for about, note in notes if about is concerned.get(index)],
                stopped=_stopped(heard.values()) if index in concerned and index not in heard else None,
                undecided=_spec(playbook, change),
            )
            for index, playbook in enumerate(playbooks.playbooks)
        )
    )


def explain_failed_job(playbooks: Playbooks, situation: FailedJobSituation, redactor: Redactor) -> Explanation:
    """Explain what `Playbooks.evaluate_failed_job` says about a failed Job; rate limits are not considered here."""
    facts = playbooks.job_facts(situation.facts)
    heard = list(playbooks.hear_of_job(situation, redactor, facts))
    everybody = [*heard, *(Heard(playbook, fired=False) for playbook in playbooks.playbooks[len(heard) :])]
    asked = _asked(playbooks, facts, redactor, situation.at)
    return Explanation(
        tuple(
            _verdict(
                asked,
                each,
                triggers=tuple(_job_triggers(each.playbook, facts)),
                stopped=_stopped(heard) if index >= len(heard) else None,
            )
            for index, each in enumerate(everybody)
        )
    )


class _Asked(msgspec.Struct, frozen=True):
    """What is the same for every finding about a change or a Job."""

    routes: Routes
    facts: Facts
    annotations: Annotations
    now: datetime | None


def _asked(playbooks: Playbooks, facts: Facts, redactor: Redactor, now: datetime | None) -> _Asked:
    return _Asked(playbooks.routes, facts, carried(facts.get("annotations"), redactor), now)


def _verdict(
    asked: _Asked,
    heard: Heard,
    *,
    triggers: tuple[TriggerVerdict, ...],
    notes: Sequence[Refusal] = (),
    stopped: Refusal | None = None,
    undecided: tuple[str, ...] = (),
) -> PlaybookVerdict:
    refusals = [] if heard.drafts else [*notes]
    if stopped is not None:
        refusals = [stopped]
    elif heard.fired and not heard.drafts and not notes:
        refusals = [Refusal("actions", "its actions have nothing to tell about it")]
    return PlaybookVerdict(
        playbook=heard.playbook.label,
        fires=heard.fired,
        triggers=triggers,
        refusals=tuple(refusals),
        undecided=undecided if heard.fired and not heard.drafts else (),
        findings=tuple(_finding(asked, heard.playbook, draft) for draft in heard.drafts),
    )


def _stopped(heard: Iterable[Heard]) -> Refusal:
    by = [each.playbook.label for each in heard if each.stops]
    return Refusal("stop", f"{', '.join(by)} told it, and has stop: true")


def _change_triggers(playbook: CompiledPlaybook, change: Change, place: GroupKind) -> Iterator[TriggerVerdict]:
    for firing in playbook.firings:
        if not firing.concerns(change.operation, place):
            yield TriggerVerdict(trigger=firing.name, fires=False, refusal=_unconcerned(firing, change))
            continue
        obstacle = firing.obstacle(change, status=playbook.status)
        yield _trigger(firing.name, firing.conditions, obstacle, change, _status(playbook, firing, obstacle, change))
    if playbook.jobs:
        text = "it is about failed Jobs, and this is a change"
        yield TriggerVerdict(trigger=JOB_FAILURE, fires=False, refusal=Refusal("operation", text))


def _job_triggers(playbook: CompiledPlaybook, job: Facts) -> Iterator[TriggerVerdict]:
    for firing in playbook.jobs:
        yield _trigger(JOB_FAILURE, firing.conditions, firing.obstacle(job), job)
    for each in playbook.firings:
        found = Refusal("operation", "it is about changes, and this is a Job that failed")
        yield TriggerVerdict(trigger=each.name, fires=False, refusal=found)


def _trigger(
    name: str,
    conditions: Iterable[Condition[S]],
    obstacle: Condition[S] | None,
    subject: S,
    undecided: tuple[str, ...] = (),
) -> TriggerVerdict:
    if obstacle is None or obstacle.scope is not None:
        asked = [each.scope.open(each.facts(subject)) for each in conditions if each.scope and each.facts]
        undecided = (*undecided, *(attribute for attributes in asked for attribute in attributes))
    found = None if obstacle is None else _condition_refusal(obstacle, subject)
    return TriggerVerdict(trigger=name, fires=obstacle is None, refusal=found, undecided=undecided)


def _condition_refusal(condition: Condition[S], subject: S) -> Refusal:
    if condition.scope is not None and condition.facts is not None:
        return scope_refusal(condition.scope, condition.facts(subject))
    return Refusal(condition.rule, condition.text)


def _unconcerned(firing: Firing, change: Change) -> Refusal:
    if change.operation not in firing.operations:
        return Refusal("operation", f"it is about {', '.join(firing.operations)}, and this is {change.operation}")
    kinds = sorted({canonical(kind) for _, kind in firing.kinds or ()})
    more = len(kinds) - _KINDS_SHOWN
    named = ", ".join(kinds[:_KINDS_SHOWN]) + (f" and {more} more" if more > 0 else "")
    resource = change.resource
    group = f" of the group {resource.group}" if canonical(resource.kind) in kinds else ""
    return Refusal("kind", f"it is about {named}, and this is {resource.kind}{group}")


def _status(
    playbook: CompiledPlaybook, firing: Firing, obstacle: Condition[Change] | None, change: Change
) -> tuple[str, ...]:
    """Say that changes of the status would decide, where nobody knows them."""
    asks = firing.fields.status if firing.fields is not None else playbook.status
    about_fields = obstacle is not None and obstacle not in firing.conditions
    return ("status",) if asks and about_fields and not is_known(change, "status") else ()


def _spec(playbook: CompiledPlaybook, change: Change) -> tuple[str, ...]:
    """Say that it matters whether the object has a spec, where nobody knows."""
    return ("spec",) if playbook.steps and not is_known(change, "spec") else ()


def _finding(asked: _Asked, playbook: CompiledPlaybook, draft: Draft) -> FindingVerdict:
    finding = finding_of(playbook, draft, asked.annotations)
    sinks = _addressed(asked, draft) if is_addressed(playbook, draft) else _sinks(asked, finding, draft.type)
    return FindingVerdict(finding=finding, type=draft.type, sinks=tuple(sinks))


def _addressed(asked: _Asked, draft: Draft) -> Iterator[SinkVerdict]:
    """Yield what all sinks make of a finding that has a receiver of its own, or is for nobody."""
    names = [route.name for route in asked.routes]
    text = "it is posted to the URL of json_change_tracker alone" if draft.receiver else "the playbook has sinks: []"
    for name in names if draft.receiver in ("", *names) else (*names, draft.receiver):
        takes = bool(draft.receiver) and name == draft.receiver
        yield SinkVerdict(sink=name, takes=takes, refusal=None if takes else Refusal("sinks", text))


def _sinks(asked: _Asked, finding: Finding, finding_type: str) -> Iterator[SinkVerdict]:
    facts, stopper = finding_facts(finding, finding_type, asked.facts), ""
    for route, obstacle in decide(asked.routes, finding, facts, asked.now):
        yield SinkVerdict(
            sink=route.name,
            takes=obstacle is None,
            refusal=None if obstacle is None else refusal(route, obstacle, facts, asked.now, stopper),
            undecided=route.open(facts) if obstacle in (None, "scope") else (),
        )
        if obstacle is None and route.stop:
            stopper = route.name
