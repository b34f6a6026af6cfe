"""Compiled actions: each takes the findings drafted so far and returns them changed, or with one more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from app.core.actions import (
    MONITORED,
    OMITTED,
    CreateFinding,
    CustomiseFinding,
    JobEnricher,
    JsonChangeTracker,
    ResourceBabysitter,
)
from app.core.diff import Delta
from app.core.facts import current
from app.core.fields import NO_STATUS, FieldSelection, names_status
from app.core.finding import Block, DiffBlock, JsonBlock, Severity, TextBlock
from app.core.paths import parse
from app.core.redact import Redactor
from app.core.review import Change
from app.core.single import Parameters
from app.core.templates import Look, Template, compile_template
from app.core.wording import account, title

RESOURCE_CHANGE: Final = "ConfigurationChange/KubernetesResource/Change"
"""Robusta's aggregation key of the findings of resource_babysitter."""

JOB_FAILURE: Final = "job_failure"
TOO_LARGE: Final = "The objects were too large to be compared."


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A finding in the making. `receiver` is the only sink that may have it; `type` is Robusta's finding type."""

    title: str
    description: str = ""
    severity: Severity = Severity.INFO
    aggregation_key: str = ""
    blocks: tuple[Block, ...] = ()
    type: str = "CONF_CHANGE"
    receiver: str = ""


class Situation(msgspec.Struct, frozen=True, kw_only=True):
    """What actions are about: a change, or a failed Job.

    For a Job, `account` says in a sentence why it failed, and `enriched` returns the blocks that an enricher attaches.
    An action that has nothing to tell says why to `silent`: its rule, and a sentence.
    """

    look: Look
    redactor: Redactor
    change: Change | None = None
    fields: FieldSelection | None = None
    account: str = ""
    enriched: Callable[[JobEnricher], tuple[Block, ...]] | None = None
    silent: Callable[[str, str], object] | None = None

    def say(self, rule: str, text: str) -> None:
        """Say why an action has nothing to tell, to whoever wants to know."""
        if self.silent is not None:
            self.silent(rule, text)


Drafts = tuple[Draft, ...]
Step = Callable[[Situation, Drafts], Drafts]


def compile_action(parameters: Parameters, receiver: str) -> Step:
    """Compile an action; `receiver` is the sink that json_change_tracker posts to."""
    match parameters:
        case ResourceBabysitter():
            return _babysitter(parameters)
        case CreateFinding():
            return _creation(parameters)
        case CustomiseFinding():
            return _customisation(parameters)
        case JsonChangeTracker():
            return _tracker(receiver)
        case JobEnricher():
            return _enrichment(parameters)
    raise TypeError(f"{type(parameters).__name__} is not an action")


def asks_for_status(parameters: Parameters) -> bool:
    """Say whether the action is about status changes, so that they must fire its playbook."""
    return isinstance(parameters, ResourceBabysitter) and names_status(parameters.fields_to_monitor or ())


def redacted(situation: Situation, change: Change, deltas: tuple[Delta, ...]) -> DiffBlock:
    """Return the block of the deltas as they may be shown."""
    kind = change.resource.kind
    return DiffBlock(tuple(situation.redactor.change(kind, delta) for delta in deltas))


def _is_named(field: str, monitored: list[str]) -> bool:
    """Say whether somebody monitors this very field, by the end of its path, or a field inside it."""
    omitted = parse(field)
    wanted = map(parse, monitored)
    return any(omitted[-len(each) :] == each or each[: len(omitted)] == omitted for each in wanted)


def _selection(parameters: ResourceBabysitter, *, has_spec: bool, filtered: bool) -> FieldSelection:
    """Return the fields to tell of an object that has a spec or not, where the trigger has filtered them or not."""
    monitored, omitted = parameters.fields_to_monitor, parameters.omitted_fields
    if omitted is None:
        by_default = () if filtered and monitored is None else OMITTED
        omitted = [field for field in by_default if not _is_named(field, monitored or [])]
    if monitored is None:
        monitored = list(MONITORED) if has_spec and not filtered else []
    return FieldSelection.compile(monitored, omitted, status=filtered)


def _babysitter(parameters: ResourceBabysitter) -> Step:
    ignored = frozenset(parameters.ignored_namespaces)
    selections = {
        (has_spec, filtered): _selection(parameters, has_spec=has_spec, filtered=filtered)
        for has_spec in (True, False)
        for filtered in (True, False)
    }

    def selected(change: Change, fields: FieldSelection | None) -> tuple[Delta, ...]:
        deltas = change.deltas if fields is None else fields.select(change.deltas)
        return selections[_has_spec(change), fields is not None].select(deltas)

    def step(situation: Situation, drafts: Drafts) -> Drafts:
        change = situation.change
        if change is None:
            return drafts
        if change.resource.namespace in ignored:
            situation.say("ignored_namespaces", "resource_babysitter ignores the namespace")
            return drafts
        deltas = selected(change, situation.fields)
        if change.operation == "UPDATE" and not deltas and not change.truncated:
            situation.say("fields_to_monitor", "no field changed that resource_babysitter monitors")
            return drafts
        draft = Draft(
            title=title(change),
            description=account(change),
            aggregation_key=RESOURCE_CHANGE,
            blocks=_blocks(situation, change, deltas),
        )
        return (*drafts, draft)

    return step


def _has_spec(change: Change) -> bool:
    return any(document is not None and "spec" in document for document in (change.old, change.new))


def _blocks(situation: Situation, change: Change, deltas: tuple[Delta, ...]) -> tuple[Block, ...]:
    if change.truncated:
        return (TextBlock(TOO_LARGE),)
    if change.operation == "UPDATE":
        return (redacted(situation, change, deltas),) if deltas else ()
    return (JsonBlock(situation.redactor.object(change.resource.kind, current(change))),)


def _rendered(template: Template | None, look: Look) -> str | None:
    return None if template is None else template.render(look)


def _creation(parameters: CreateFinding) -> Step:
    heading, key = compile_template(parameters.title), compile_template(parameters.aggregation_key)
    description = compile_template(parameters.description or "")

    def step(situation: Situation, drafts: Drafts) -> Drafts:
        blocks: tuple[Block, ...] = ()
        change = situation.change
        if change is not None and change.operation == "UPDATE":
            blocks = _blocks(situation, change, NO_STATUS.select(change.deltas))
        draft = Draft(
            title=heading.render(situation.look),
            description=description.render(situation.look) or (account(change) if change else situation.account),
            severity=parameters.severity,
            aggregation_key=key.render(situation.look),
            blocks=blocks,
            type="ISSUE",
        )
        return (*drafts, draft)

    return step


def _customisation(parameters: CustomiseFinding) -> Step:
    texts = {
        name: compile_template(text)
        for name in ("title", "description", "aggregation_key")
        if (text := getattr(parameters, name)) is not None
    }
    fixed: dict[str, Any] = {} if parameters.severity is None else {"severity": parameters.severity}

    def step(situation: Situation, drafts: Drafts) -> Drafts:
        changes = fixed | {name: template.render(situation.look) for name, template in texts.items()}
        return tuple(msgspec.structs.replace(draft, **changes) for draft in drafts)

    return step


def _tracker(receiver: str) -> Step:
    def step(situation: Situation, drafts: Drafts) -> Drafts:
        change = situation.change
        if change is None:
            return drafts
        document = situation.redactor.object(change.resource.kind, current(change))
        block = JsonBlock(document | {"operation": change.operation.lower()})
        draft = Draft(title=title(change), description=account(change), blocks=(block,), receiver=receiver)
        return (*drafts, draft)

    return step


def _enrichment(parameters: JobEnricher) -> Step:
    def step(situation: Situation, drafts: Drafts) -> Drafts:
        if situation.enriched is None:
            situation.say("actions", "it only attaches what is known of failed Jobs, and this is a change")
            return drafts
        blocks = situation.enriched(parameters)
        drafted = drafts or (_job_failed(situation),)
        return tuple(msgspec.structs.replace(draft, blocks=draft.blocks + blocks) for draft in drafted)

    return step


def _job_failed(situation: Situation) -> Draft:
    look = situation.look
    return Draft(
        title=f"Job {look('namespace')}/{look('name')} failed",
        description=situation.account,
        severity=Severity.HIGH,
        aggregation_key=JOB_FAILURE,
        type="ISSUE",
    )
