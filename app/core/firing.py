"""Compiled triggers: does this change fire, and which of its fields made it fire."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Generic, TypeVar

import msgspec

from app.core.facts import ChangeFacts, NamespaceLabels, unknown_namespaces
from app.core.fields import NO_STATUS, FieldSelection
from app.core.kinds import BY_NAME, is_noise, kind_of
from app.core.matching import CompiledScope, Facts
from app.core.review import Change
from app.core.single import Parameters
from app.core.triggers import (
    ANY_RESOURCE,
    ChangeFilters,
    ChangeTrigger,
    CustomResourceTrigger,
    ObjectTrigger,
    OperationTrigger,
    Target,
    labels_of,
    target,
)

GroupKind = tuple[str, str]
"""API group, and kind in lower case."""

_CHANGES: Final = ("CREATE", "UPDATE", "DELETE")

S = TypeVar("S")


class Condition(msgspec.Struct, Generic[S], frozen=True):
    """What a trigger asks of a change, or of what is known of a Job; `text` says what is wrong where it does not hold.

    `rule` is its name in the configuration. A `scope` can say more of the `facts` that it is asked about.
    """

    rule: str
    text: str
    holds: Callable[[S], bool]
    scope: CompiledScope | None = None
    facts: Callable[[S], Facts] | None = None


Conditions = tuple[Condition[Change], ...]


def unmet(conditions: Iterable[Condition[S]], subject: S) -> Condition[S] | None:
    """Return the first condition that does not hold."""
    for condition in conditions:
        if not condition.holds(subject):
            return condition
    return None


class _Reading(msgspec.Struct, Generic[S], frozen=True):
    """How conditions read what they are asked about."""

    name: Callable[[S], str]
    namespace: Callable[[S], str]
    labels: Callable[[S], Mapping[str, str]]
    facts: Callable[[S], Facts]


class Firing(msgspec.Struct, frozen=True):
    """A compiled trigger. `kinds` None means any; `conditions` must all hold; `fields` are from `change_filters`."""

    name: str
    operations: tuple[str, ...]
    kinds: frozenset[GroupKind] | None
    conditions: tuple[Condition[Change], ...]
    fields: FieldSelection | None

    def concerns(self, operation: str, kind: GroupKind | None) -> bool:
        """Say whether it is about such operations on such objects; None stands for kinds that no trigger names."""
        return operation in self.operations and (self.kinds is None or kind in self.kinds)

    def obstacle(self, change: Change, *, status: bool) -> Condition[Change] | None:
        """Return what keeps a change that it concerns from firing it.

        An update fires only if a field that counts has changed; `status` says that the playbook's actions ask for
        status changes. One that was too large to be read fires: any field may have changed.
        """
        condition = unmet(self.conditions, change)
        if condition is not None or self._counts(change, status=status):
            return condition
        return _NO_FIELD if self.fields is None else _FILTERED

    def _counts(self, change: Change, *, status: bool) -> bool:
        if change.operation != "UPDATE" or change.truncated:
            return True
        if self.fields is None and status:
            return bool(change.deltas)
        return (self.fields or NO_STATUS).any(change.deltas)


def compile_trigger(
    name: str, parameters: Parameters, namespaces: NamespaceLabels = unknown_namespaces
) -> Firing | None:
    """Compile a trigger on changes; None for one that is not about changes."""
    if not isinstance(parameters, ChangeTrigger):
        return None
    asked = tuple(_conditions(parameters, _of_changes(namespaces)))
    fields = _fields(parameters.change_filters)
    if isinstance(parameters, OperationTrigger):
        return _operation_firing(name, parameters, asked, fields)
    operations = _operations(name)
    kinds, where = _kinds(name, parameters)
    return Firing(name, operations, kinds, (*where, _WHOLE, *asked), fields)


def job_conditions(parameters: ObjectTrigger) -> tuple[Condition[Facts], ...]:
    """Return what prefixes, labels and scope ask of objects that come otherwise than as a change."""
    return tuple(_conditions(parameters, _OF_FACTS))


_OF_FACTS: Final = _Reading[Facts](
    lambda facts: str(facts["name"]),
    lambda facts: str(facts["namespace"]),
    operator.itemgetter("labels"),
    lambda facts: facts,
)


def _of_changes(namespaces: NamespaceLabels) -> _Reading[Change]:
    return _Reading(
        lambda change: change.resource.name,
        lambda change: change.resource.namespace,
        lambda change: change.labels,
        lambda change: ChangeFacts(change, namespaces),
    )


def _conditions(parameters: ObjectTrigger, read: _Reading[S]) -> Iterator[Condition[S]]:
    """Yield only the conditions that the parameters ask for: what is not asked costs nothing."""
    name, namespace = parameters.name_prefix, parameters.namespace_prefix
    if name:
        yield Condition("name_prefix", f"the name does not begin with {name!r}", _begins(read.name, name))
    if namespace:
        text = f"the namespace does not begin with {namespace!r}"
        yield Condition("namespace_prefix", text, _begins(read.namespace, namespace))
    if selector := parameters.labels_selector:
        wanted = labels_of(selector).items()
        text = f"the object does not have the labels {selector}"
        yield Condition("labels_selector", text, lambda subject: wanted <= read.labels(subject).items())
    if parameters.scope:
        within = parameters.scope.compile()
        text = "it is not within the scope"
        yield Condition("scope", text, lambda subject: within(read.facts(subject)), within, read.facts)


def _begins(read: Callable[[S], str], prefix: str) -> Callable[[S], bool]:
    return lambda subject: read(subject).startswith(prefix)


_WHOLE: Final = Condition[Change](
    "subresource",
    "it creates or deletes only a subresource, such as an eviction, a token or a binding",
    lambda change: change.operation == "UPDATE" or not change.resource.subresource,
)
_AS_WHOLE: Final = Condition[Change](
    "subresource", _WHOLE.text, lambda change: change.operation == "CONNECT" or _WHOLE.holds(change)
)
_NOT_NOISE: Final = Condition[Change](
    "upkeep",
    "it is the cluster's own upkeep, such as a lease, an event or an endpoint",
    lambda change: not is_noise(change.resource.group, change.resource.resource, change.resource.subresource),
)
_FILTERED: Final = Condition[Change](
    "change_filters", "no field changed that change_filters lets through", lambda _: False
)
_NO_FIELD: Final = Condition[Change]("fields", "no field changed but those of the status", lambda _: False)


def _operations(name: str) -> tuple[str, ...]:
    if name.endswith("_all_changes"):
        return _CHANGES
    return (name.rpartition("_")[2].upper(),)


def _kinds(name: str, parameters: ChangeTrigger) -> tuple[frozenset[GroupKind] | None, Conditions]:
    if isinstance(parameters, CustomResourceTrigger):
        return frozenset({(parameters.group, parameters.kind.lower())}), tuple(_versions(parameters.version))
    if name.startswith(ANY_RESOURCE):
        return None, (_NOT_NOISE,)
    word = (
        name.removeprefix("on_").removesuffix("_all_changes")
        if len(_operations(name)) > 1
        else name[3:].rpartition("_")[0]
    )
    return frozenset((group, word) for group in BY_NAME[word].groups), ()


def _versions(version: str | None) -> Iterator[Condition[Change]]:
    if version:
        text = f"its API version is not {version}"
        yield Condition("version", text, lambda change: change.resource.version == version)


def _fields(filters: ChangeFilters | None) -> FieldSelection | None:
    return None if filters is None else FieldSelection.compile(filters.include or (), filters.ignore or ())


def _operation_firing(
    name: str, parameters: OperationTrigger, asked: Conditions, fields: FieldSelection | None
) -> Firing:
    operations = tuple(dict.fromkeys(map(str.upper, parameters.operations))) or _CHANGES
    if not parameters.resources:
        return Firing(name, operations, None, (_NOT_NOISE, _AS_WHOLE, *asked), fields)
    targets = [target(text) for text in parameters.resources]
    text = f"it is none of {', '.join(parameters.resources)}"
    addressed = Condition("resources", text, _addressed(targets))
    return Firing(name, operations, _built_in(targets), (addressed, *asked), fields)


def _built_in(targets: Iterable[Target]) -> frozenset[GroupKind] | None:
    """Return the kinds that the targets mean, None if one is a custom resource, whose kind nobody knows yet."""
    kinds = [(group, kind) for each in targets for group in each.groups for kind in [kind_of(group, each.resource)]]
    if any(kind is None for _, kind in kinds):
        return None
    return frozenset((group, kind.lower()) for group, kind in kinds if kind is not None)


def _addressed(targets: Iterable[Target]) -> Callable[[Change], bool]:
    """Return the test for the named resources; no subresource named means the object itself, changed in any way."""
    wanted = {(group, each.resource, each.subresource) for each in targets for group in each.groups}

    def test(change: Change) -> bool:
        resource = change.resource
        place = (resource.group, resource.resource)
        return (*place, resource.subresource) in wanted or ((*place, None) in wanted and _AS_WHOLE.holds(change))

    return test
