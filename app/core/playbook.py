"""Playbooks: when one of these triggers fires, take these actions, and tell these sinks."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Final, NamedTuple

import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.core.actions import (
    ActionItem,
    JobEnricher,
    JsonChangeTracker,
    ResourceBabysitter,
)
from app.core.annotations import Annotations, carried
from app.core.change import Resource
from app.core.drafts import Draft, Situation, Step, asks_for_status, compile_action
from app.core.facts import NAMESPACE_LABELS, ChangeFacts, NamespaceLabels, labels_of_namespace, unknown_namespaces
from app.core.finding import Block, Finding
from app.core.firing import Condition, Firing, GroupKind, compile_trigger, job_conditions, unmet
from app.core.matching import Facts
from app.core.redact import Redactor
from app.core.review import Change
from app.core.routing import Routes, SinkRule, compile_routes, finding_facts, takers
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

    conditions: tuple[Condition[Facts], ...]
    rate_limit: int

    def obstacle(self, job: Facts) -> Condition[Facts] | None:
        """Return what keeps a Job from firing it."""
        return unmet(self.conditions, job)


class FailedJobSituation(msgspec.Struct, frozen=True, kw_only=True):
    """A failed Job, of which playbooks are to speak; all redacted already.

    `facts` are what scopes may ask (name, namespace, kind, labels, annotations, ...), `enriched` returns the blocks of
    an enricher, `look` the values of template variables, and `account` says in a sentence why the Job failed.
    `withheld` names the playbooks that do not fire, since their rate limit is used up. `at` is the moment at which
    sinks must be active; without one, they are.
    """

    facts: Facts
    look: Look
    account: str
    enriched: Callable[[JobEnricher], tuple[Block, ...]]
    withheld: Collection[str] = ()
    at: datetime | None = None


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
            if firing.obstacle(change, status=self.status) is None:
                return firing
        return None

    def fired_by_job(self, job: Facts) -> JobFiring | None:
        """Return the first trigger that a failed Job fires."""
        return next((firing for firing in self.jobs if firing.obstacle(job) is None), None)

    def drafts(self, situation: Situation) -> tuple[Draft, ...]:
        """Take the actions in order."""
        drafts: tuple[Draft, ...] = ()
        for step in self.steps:
            drafts = step(situation, drafts)
        return drafts

    def narrowed(self, operation: str, kind: GroupKind | None) -> CompiledPlaybook | None:
        """Keep the triggers that such a change may fire; None if there are none."""
        firings = tuple(firing for firing in self.firings if firing.concerns(operation, kind))
        return msgspec.structs.replace(self, firings=firings) if firings else None


class Heard(NamedTuple):
    """What a playbook makes of a change or a failed Job: nothing where no trigger fired, or it had nothing to tell."""

    playbook: CompiledPlaybook
    fired: bool
    drafts: tuple[Draft, ...] = ()

    @property
    def stops(self) -> bool:
        """Whether later playbooks do not hear of it."""
        return bool(self.drafts) and self.playbook.stop


Silent = Callable[[CompiledPlaybook, str, str], object]
"""Takes why a playbook that fired has nothing to tell: the rule, and a sentence."""

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

    def __init__(
        self,
        playbooks: Sequence[CompiledPlaybook],
        routes: Routes,
        namespaces: NamespaceLabels = unknown_namespaces,
    ) -> None:
        self.playbooks = tuple(playbooks)
        self.routes = routes
        self._namespaces = namespaces
        self._by_kind: Index = {}
        self._others: dict[str, tuple[CompiledPlaybook, ...]] = {}
        self._index()

    @classmethod
    def compile(
        cls,
        playbooks: Sequence[Playbook],
        sinks: Iterable[SinkRule] = (),
        namespaces: NamespaceLabels = unknown_namespaces,
    ) -> Playbooks:
        """Compile playbooks and the routing to the sinks, which keep their order."""
        names = iter([name for name, _ in trackers(playbooks)])
        compiled = [_compile(playbook, names, namespaces) for playbook in playbooks]
        return cls(compiled, compile_routes(sinks), namespaces)

    def evaluate(
        self, change: Change, redactor: Redactor, cluster: str, now: datetime | None = None
    ) -> list[RoutedFinding]:
        """Return what the playbooks say about a change, in their order, and to whom; an unchanged update fires none.

        `now` is the moment at which sinks must be active; without one, they are.
        """
        resource = change.resource
        key = (change.operation, resource.group, resource.kind.lower())
        candidates = self._by_kind.get(key) or self._others.get(change.operation)
        if not candidates:
            return []
        heard = self.hear(candidates, change, redactor, cluster)
        return self._told(heard, self.facts(change), now, redactor)

    def facts(self, change: Change) -> Facts:
        """Return what scopes may ask about a change."""
        return ChangeFacts(change, self._namespaces)

    def job_facts(self, job: Facts) -> Facts:
        """Return what scopes may ask about a failed Job: what is known of it, and the labels of its namespace."""
        place = Resource(kind=str(job["kind"]), group="batch", namespace=str(job["namespace"]))
        return {**job, NAMESPACE_LABELS: labels_of_namespace(place, job["labels"], self._namespaces)}

    def hear(
        self,
        candidates: Iterable[CompiledPlaybook],
        change: Change,
        redactor: Redactor,
        cluster: str,
        silent: Silent | None = None,
    ) -> Iterator[Heard]:
        """Yield what each playbook makes of a change that it concerns, up to one that stops it."""
        look = change_look(change, redactor, cluster)
        for playbook in candidates:
            firing = playbook.fired(change)
            if firing is None:
                yield Heard(playbook, fired=False)
                continue
            situation = Situation(
                look=look,
                redactor=redactor,
                change=change,
                fields=firing.fields,
                silent=None if silent is None else functools.partial(silent, playbook),
            )
            heard = Heard(playbook, fired=True, drafts=playbook.drafts(situation))
            yield heard
            if heard.stops:
                return

    def hear_of_job(self, failed: FailedJobSituation, redactor: Redactor, facts: Facts) -> Iterator[Heard]:
        """Yield what each playbook makes of a failed Job, up to one that stops it."""
        situation = Situation(look=failed.look, redactor=redactor, account=failed.account, enriched=failed.enriched)
        for playbook in self.playbooks:
            if playbook.label in failed.withheld or playbook.fired_by_job(facts) is None:
                yield Heard(playbook, fired=False)
                continue
            heard = Heard(playbook, fired=True, drafts=playbook.drafts(situation))
            yield heard
            if heard.stops:
                return

    def wanted_enrichers(self, job: Facts) -> tuple[JobEnricher, ...]:
        """Return, without repeats, what `evaluate_failed_job` will ask to be attached for this Job."""
        wanted = (enricher for playbook, _ in self._about(job) for enricher in playbook.enrichers)
        return tuple(dict.fromkeys(wanted))

    def rate_limits(self, job: Facts) -> dict[str, int]:
        """Return for how many seconds one finding of a playbook is enough, by the playbook's label."""
        return {playbook.label: firing.rate_limit for playbook, firing in self._about(job) if firing.rate_limit}

    def evaluate_failed_job(self, situation: FailedJobSituation, redactor: Redactor) -> list[RoutedFinding]:
        """Return what the playbooks say about a failed Job, and to whom."""
        facts = self.job_facts(situation.facts)
        return self._told(self.hear_of_job(situation, redactor, facts), facts, situation.at, redactor)

    def _about(self, job: Facts) -> Iterator[tuple[CompiledPlaybook, JobFiring]]:
        facts = self.job_facts(job)
        for playbook in self.playbooks:
            firing = playbook.fired_by_job(facts)
            if firing is not None:
                yield playbook, firing

    def _told(
        self, heard: Iterable[Heard], subject: Facts, now: datetime | None, redactor: Redactor
    ) -> list[RoutedFinding]:
        drafts = [(each.playbook, draft) for each in heard for draft in each.drafts]
        annotations = carried(subject.get("annotations"), redactor) if drafts else msgspec.UNSET
        return [self._routed(*each, annotations, subject, now) for each in drafts]

    def _routed(
        self, playbook: CompiledPlaybook, draft: Draft, annotations: Annotations, subject: Facts, now: datetime | None
    ) -> RoutedFinding:
        finding = finding_of(playbook, draft, annotations)
        if is_addressed(playbook, draft):
            return RoutedFinding(finding, finding.sinks)
        facts = finding_facts(finding, draft.type, subject)
        return RoutedFinding(finding, takers(self.routes, finding, facts, now))

    def _index(self) -> None:
        firings = [firing for playbook in self.playbooks for firing in playbook.firings]
        for operation in {operation for firing in firings for operation in firing.operations}:
            self._others[operation] = self._narrowed(operation, None)
            for group, kind in {kind for firing in firings for kind in firing.kinds or ()}:
                self._by_kind[operation, group, kind] = self._narrowed(operation, (group, kind))

    def _narrowed(self, operation: str, kind: GroupKind | None) -> tuple[CompiledPlaybook, ...]:
        narrowed = (playbook.narrowed(operation, kind) for playbook in self.playbooks)
        return tuple(playbook for playbook in narrowed if playbook is not None)


def finding_of(playbook: CompiledPlaybook, draft: Draft, annotations: Annotations = msgspec.UNSET) -> Finding:
    """Return the finding that a draft has become."""
    return Finding(
        playbook=playbook.label,
        title=draft.title,
        description=draft.description,
        severity=draft.severity,
        aggregation_key=draft.aggregation_key,
        blocks=draft.blocks,
        sinks=(draft.receiver,) if draft.receiver else playbook.sinks or (),
        annotations=annotations,
    )


def is_addressed(playbook: CompiledPlaybook, draft: Draft) -> bool:
    """Say whether no rule of a sink decides who gets it: it has a receiver of its own, or is for nobody on purpose."""
    return bool(draft.receiver) or playbook.sinks == ()


def _compile(playbook: Playbook, receivers: Iterator[str], namespaces: NamespaceLabels) -> CompiledPlaybook:
    actions = [action for _, action in playbook.chosen_actions]
    firings = (compile_trigger(name, parameters, namespaces) for name, parameters in playbook.chosen_triggers)
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
            JobFiring(job_conditions(parameters), parameters.rate_limit or 0)
            for _, parameters in playbook.chosen_triggers
            if isinstance(parameters, FailedJobTrigger)
        ),
        enrichers=tuple(action for action in actions if isinstance(action, JobEnricher)),
    )
