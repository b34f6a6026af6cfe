"""Playbooks: when one of these triggers fires, take these actions, and tell these sinks."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Annotated, Final

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.actions import (
    ActionItem,
    JobEnricher,
    JsonChangeTracker,
    ResourceBabysitter,
)
from app.core.drafts import Draft, Situation, Step, asks_for_status, compile_action
from app.core.facts import ChangeFacts
from app.core.finding import Block, Finding
from app.core.firing import Firing, GroupKind, compile_trigger, object_test
from app.core.redact import Redactor
from app.core.review import Change
from app.core.routing import Routes, SinkRule, compile_routes, finding_facts, route
from app.core.scope import Facts
from app.core.single import Parameters
from app.core.templates import Look
from app.core.triggers import JOB_FAILURE, FailedJobTrigger, TriggerItem
from app.core.wording import change_look

TRACKER: Final = "json_change_tracker"


class Playbook(BaseModel):
    """Triggers, of which any fires it, and actions, which are taken in order."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="Shown in the ledger; by default the first trigger."),
    ] = None
    triggers: Annotated[list[TriggerItem], Field(min_length=1, description="When to act: any of these.")]
    actions: Annotated[list[ActionItem], Field(min_length=1, description="What to do, in this order.")]
    sinks: Annotated[
        list[str] | None,
        Field(description="Names of the sinks to tell; by default all with `default: true`. [] tells none."),
    ] = None
    stop: Annotated[
        bool, Field(description="Later playbooks do not see a change about which this one made a finding.")
    ] = False

    @model_validator(mode="after")
    def _check(self) -> Playbook:
        kinds = {name == JOB_FAILURE for name, _ in self.chosen_triggers}
        for name, action in self.chosen_actions:
            if isinstance(action, JobEnricher) and True not in kinds:
                raise ValueError(f"{name} needs the trigger {JOB_FAILURE}")
            if isinstance(action, (ResourceBabysitter, JsonChangeTracker)) and False not in kinds:
                raise ValueError(f"{name} tells changes, and {JOB_FAILURE} is none")
        if self.chosen_actions[0][0] == "customise_finding":
            raise ValueError("customise_finding comes first, but changes the findings of the actions before it")
        return self

    @property
    def chosen_triggers(self) -> list[tuple[str, Parameters]]:
        """Every trigger's name and parameters."""
        return [item.chosen for item in self.triggers]

    @property
    def chosen_actions(self) -> list[tuple[str, Parameters]]:
        """Every action's name and parameters."""
        return [item.chosen for item in self.actions]

    @property
    def label(self) -> str:
        """Its name, or that of its first trigger."""
        return self.name or self.chosen_triggers[0][0]


class RoutedFinding(msgspec.Struct, frozen=True):
    """A finding, and the names of the sinks that take it: none where every scope refuses it."""

    finding: Finding
    sinks: tuple[str, ...]


class JobFiring(msgspec.Struct, frozen=True):
    """A compiled on_job_failure: which Jobs are meant, and for how many seconds one finding is enough."""

    test: Callable[[Facts], bool]
    rate_limit: int


class FailedJobSituation(msgspec.Struct, frozen=True, kw_only=True):
    """A failed Job, of which playbooks are to speak; all redacted already.

    `facts` are what scopes may ask (name, namespace, kind, labels, annotations, ...), `enriched` returns the blocks of
    an enricher, `look` the values of template variables, and `account` says in a sentence why the Job failed.
    `withheld` names the playbooks that do not fire, since their rate limit is used up.
    """

    facts: Facts
    look: Look
    account: str
    enriched: Callable[[JobEnricher], tuple[Block, ...]]
    withheld: Collection[str] = ()


class CompiledPlaybook(msgspec.Struct, frozen=True):
    """A playbook ready to be evaluated."""

    label: str
    firings: tuple[Firing, ...]
    steps: tuple[Step, ...]
    sinks: tuple[str, ...] | None
    stop: bool
    status: bool
    jobs: tuple[JobFiring, ...]
    enrichers: tuple[JobEnricher, ...]

    def fired(self, change: Change) -> Firing | None:
        """Return the first trigger that the change fires."""
        for firing in self.firings:
            if firing.fires(change, status=self.status):
                return firing
        return None

    def drafts(self, situation: Situation) -> tuple[Draft, ...]:
        """Take the actions in order."""
        drafts: tuple[Draft, ...] = ()
        for step in self.steps:
            drafts = step(situation, drafts)
        return drafts

    def narrowed(self, operation: str, kind: GroupKind | None) -> CompiledPlaybook | None:
        """Keep the triggers that such a change may fire; None if there are none."""
        firings = tuple(
            firing
            for firing in self.firings
            if operation in firing.operations and (firing.kinds is None or kind in firing.kinds)
        )
        return msgspec.structs.replace(self, firings=firings) if firings else None


Index = dict[tuple[str, str, str], tuple[CompiledPlaybook, ...]]


def trackers(playbooks: Iterable[Playbook]) -> Iterator[tuple[str, JsonChangeTracker]]:
    """Yield every json_change_tracker with the name of its implicit sink, `json_change_tracker:<8 hex digits>`.

    The name is made of where it posts to, not of its place in the file: what is queued keeps its receiver when the
    file is edited, and when a token in a header is replaced. Equal actions share a sink.
    """
    named: dict[str, JsonChangeTracker] = {}
    for playbook in playbooks:
        for _, action in playbook.chosen_actions:
            if isinstance(action, JsonChangeTracker):
                yield _tracker_name(action, named), action


def _tracker_name(action: JsonChangeTracker, named: dict[str, JsonChangeTracker]) -> str:
    """Return the name of an action's sink, and remember it; a number tells those apart that only differ in values."""
    parts = [str(action.url.get_secret_value()), *sorted(map(str.lower, action.headers or ()))]
    name = plain = f"{TRACKER}:{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()[:8]}"
    number = 1
    while named.setdefault(name, action) != action:
        number += 1
        name = f"{plain}-{number}"
    return name


class Playbooks:
    """Every playbook, indexed by operation and kind. Immutable; evaluation is pure and builds nothing in vain."""

    def __init__(self, playbooks: Sequence[CompiledPlaybook], routes: Routes) -> None:
        self._playbooks = tuple(playbooks)
        self._routes = routes
        self._by_kind: Index = {}
        self._others: dict[str, tuple[CompiledPlaybook, ...]] = {}
        self._index()

    @classmethod
    def compile(cls, playbooks: Sequence[Playbook], sinks: Iterable[SinkRule] = ()) -> Playbooks:
        """Compile playbooks and the routing to the sinks, which keep their order."""
        names = iter([name for name, _ in trackers(playbooks)])
        return cls([_compile(playbook, names) for playbook in playbooks], compile_routes(sinks))

    def evaluate(self, change: Change, redactor: Redactor, cluster: str) -> list[RoutedFinding]:
        """Return what the playbooks say about a change, in their order, and to whom; an unchanged update fires none."""
        resource = change.resource
        key = (change.operation, resource.group, resource.kind.lower())
        candidates = self._by_kind.get(key) or self._others.get(change.operation)
        if not candidates:
            return []
        return self._told(candidates, change, redactor, cluster)

    def wanted_enrichers(self, job: Facts) -> tuple[JobEnricher, ...]:
        """Return, without repeats, what `evaluate_failed_job` will ask to be attached for this Job."""
        wanted = (enricher for playbook, _ in self._about(job) for enricher in playbook.enrichers)
        return tuple(dict.fromkeys(wanted))

    def rate_limits(self, job: Facts) -> dict[str, int]:
        """Return for how many seconds one finding of a playbook is enough, by the playbook's label."""
        return {playbook.label: firing.rate_limit for playbook, firing in self._about(job) if firing.rate_limit}

    def evaluate_failed_job(self, situation: FailedJobSituation, redactor: Redactor) -> list[RoutedFinding]:
        """Return what the playbooks say about a failed Job, and to whom."""
        told: list[RoutedFinding] = []
        for playbook, _ in self._about(situation.facts):
            if playbook.label in situation.withheld:
                continue
            drafts = playbook.drafts(
                Situation(
                    look=situation.look,
                    redactor=redactor,
                    account=situation.account,
                    enriched=situation.enriched,
                )
            )
            told.extend(self._routed(playbook, draft, situation.facts) for draft in drafts)
            if drafts and playbook.stop:
                break
        return told

    def _about(self, job: Facts) -> Iterator[tuple[CompiledPlaybook, JobFiring]]:
        for playbook in self._playbooks:
            for firing in playbook.jobs:
                if firing.test(job):
                    yield playbook, firing
                    break

    def _told(
        self, candidates: tuple[CompiledPlaybook, ...], change: Change, redactor: Redactor, cluster: str
    ) -> list[RoutedFinding]:
        told: list[RoutedFinding] = []
        look = change_look(change, redactor, cluster)
        for playbook in candidates:
            firing = playbook.fired(change)
            if firing is None:
                continue
            situation = Situation(look=look, redactor=redactor, change=change, fields=firing.fields)
            drafts = playbook.drafts(situation)
            told.extend(self._routed(playbook, draft, ChangeFacts(change)) for draft in drafts)
            if drafts and playbook.stop:
                break
        return told

    def _routed(self, playbook: CompiledPlaybook, draft: Draft, subject: Facts) -> RoutedFinding:
        finding = Finding(
            playbook=playbook.label,
            title=draft.title,
            description=draft.description,
            severity=draft.severity,
            aggregation_key=draft.aggregation_key,
            blocks=draft.blocks,
            sinks=(draft.receiver,) if draft.receiver else playbook.sinks or (),
        )
        if draft.receiver or playbook.sinks == ():
            return RoutedFinding(finding, finding.sinks)
        return RoutedFinding(finding, route(self._routes, finding, finding_facts(finding, draft.type, subject)))

    def _index(self) -> None:
        firings = [firing for playbook in self._playbooks for firing in playbook.firings]
        for operation in {operation for firing in firings for operation in firing.operations}:
            self._others[operation] = self._narrowed(operation, None)
            for group, kind in {kind for firing in firings for kind in firing.kinds or ()}:
                self._by_kind[operation, group, kind] = self._narrowed(operation, (group, kind))

    def _narrowed(self, operation: str, kind: GroupKind | None) -> tuple[CompiledPlaybook, ...]:
        narrowed = (playbook.narrowed(operation, kind) for playbook in self._playbooks)
        return tuple(playbook for playbook in narrowed if playbook is not None)


def _compile(playbook: Playbook, receivers: Iterator[str]) -> CompiledPlaybook:
    actions = [action for _, action in playbook.chosen_actions]
    firings = (compile_trigger(name, parameters) for name, parameters in playbook.chosen_triggers)
    return CompiledPlaybook(
        label=playbook.label,
        firings=tuple(firing for firing in firings if firing is not None),
        steps=tuple(
            compile_action(action, next(receivers) if isinstance(action, JsonChangeTracker) else "")
            for action in actions
        ),
        sinks=None if playbook.sinks is None else tuple(playbook.sinks),
        stop=playbook.stop,
        status=any(map(asks_for_status, actions)),
        jobs=tuple(
            JobFiring(object_test(parameters), parameters.rate_limit or 0)
            for _, parameters in playbook.chosen_triggers
            if isinstance(parameters, FailedJobTrigger)
        ),
        enrichers=tuple(action for action in actions if isinstance(action, JobEnricher)),
    )
