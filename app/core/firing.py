"""Compiled triggers: does this change fire, and which of its fields made it fire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from app.core.facts import ChangeFacts
from app.core.fields import NO_STATUS, FieldSelection
from app.core.kinds import BY_NAME, is_noise, kind_of
from app.core.review import Change
from app.core.scope import Facts
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

Test = Callable[[Change], bool]

_CHANGES: Final = ("CREATE", "UPDATE", "DELETE")


class Firing(msgspec.Struct, frozen=True):
    """A compiled trigger. `kinds` None means any; `tests` must all hold; `fields` are those of `change_filters`."""

    name: str
    operations: tuple[str, ...]
    kinds: frozenset[GroupKind] | None
    tests: tuple[Test, ...]
    fields: FieldSelection | None

    def fires(self, change: Change, *, status: bool) -> bool:
        """Say whether the change is meant; `status` says that the playbook's actions ask for status changes.

        An update fires only if a field that counts has changed. One that was too large to be read fires: any field
        may have.
        """
        if not all(test(change) for test in self.tests):
            return False
        if change.operation != "UPDATE" or change.truncated:
            return True
        if self.fields is None and status:
            return bool(change.deltas)
        return (self.fields or NO_STATUS).any(change.deltas)


def compile_trigger(name: str, parameters: Parameters) -> Firing | None:
    """Compile a trigger on changes; None for one that is not about changes."""
    if not isinstance(parameters, ChangeTrigger):
        return None
    tests = tuple(_object_tests(parameters))
    fields = _fields(parameters.change_filters)
    if isinstance(parameters, OperationTrigger):
        return _operation_firing(name, parameters, tests, fields)
    operations = _operations(name)
    kinds, where = _kinds(name, parameters)
    return Firing(name, operations, kinds, (*where, _whole, *tests), fields)


def object_test(parameters: ObjectTrigger) -> Callable[[Facts], bool]:
    """Return the test of prefixes, labels and scope for objects that come otherwise than as a change."""
    labels = labels_of(parameters.labels_selector) if parameters.labels_selector else {}
    within = parameters.scope.compile() if parameters.scope else None

    def test(facts: Facts) -> bool:
        return (
            facts["name"].startswith(parameters.name_prefix or "")
            and facts["namespace"].startswith(parameters.namespace_prefix or "")
            and labels.items() <= facts["labels"].items()
            and (within is None or within(facts))
        )

    return test


def _whole(change: Change) -> bool:
    """Say no to what creates or deletes only a subresource: an eviction, a token, a binding."""
    return change.operation == "UPDATE" or not change.resource.subresource


def _not_noise(change: Change) -> bool:
    return not is_noise(change.resource.group, change.resource.resource, change.resource.subresource)


def _operations(name: str) -> tuple[str, ...]:
    if name.endswith("_all_changes"):
        return _CHANGES
    return (name.rpartition("_")[2].upper(),)


def _kinds(name: str, parameters: ChangeTrigger) -> tuple[frozenset[GroupKind] | None, tuple[Test, ...]]:
    if isinstance(parameters, CustomResourceTrigger):
        version = parameters.version
        tests: tuple[Test, ...] = (lambda change: change.resource.version == version,) if version else ()
        return frozenset({(parameters.group, parameters.kind.lower())}), tests
    if name.startswith(ANY_RESOURCE):
        return None, (_not_noise,)
    word = (
        name.removeprefix("on_").removesuffix("_all_changes")
        if len(_operations(name)) > 1
        else name[3:].rpartition("_")[0]
    )
    return frozenset((group, word) for group in BY_NAME[word].groups), ()


def _fields(filters: ChangeFilters | None) -> FieldSelection | None:
    return None if filters is None else FieldSelection.compile(filters.include or (), filters.ignore or ())


def _object_tests(parameters: ChangeTrigger) -> Iterable[Test]:
    """Yield only the tests that the parameters ask for: what is not asked costs nothing."""
    name, namespace = parameters.name_prefix, parameters.namespace_prefix
    if name:
        yield lambda change: change.resource.name.startswith(name)
    if namespace:
        yield lambda change: change.resource.namespace.startswith(namespace)
    if parameters.labels_selector:
        labels = labels_of(parameters.labels_selector)
        yield lambda change: labels.items() <= change.labels.items()
    if parameters.scope:
        within = parameters.scope.compile()
        yield lambda change: within(ChangeFacts(change))


def _operation_firing(
    name: str, parameters: OperationTrigger, tests: tuple[Test, ...], fields: FieldSelection | None
) -> Firing:
    operations = tuple(dict.fromkeys(map(str.upper, parameters.operations))) or _CHANGES
    if not parameters.resources:
        return Firing(name, operations, None, (_not_noise, _as_whole, *tests), fields)
    targets = [target(text) for text in parameters.resources]
    return Firing(name, operations, _built_in(targets), (_addressed(targets), *tests), fields)


def _built_in(targets: Iterable[Target]) -> frozenset[GroupKind] | None:
    """Return the kinds that the targets mean, None if one is a custom resource, whose kind nobody knows yet."""
    kinds = [(group, kind) for each in targets for group in each.groups for kind in [kind_of(group, each.resource)]]
    if any(kind is None for _, kind in kinds):
        return None
    return frozenset((group, kind.lower()) for group, kind in kinds if kind is not None)


def _as_whole(change: Change) -> bool:
    return change.operation == "CONNECT" or _whole(change)


def _addressed(targets: Iterable[Target]) -> Test:
    """Return the test for the named resources; no subresource named means the object itself, changed in any way."""
    wanted = {(group, each.resource, each.subresource) for each in targets for group in each.groups}

    def test(change: Change) -> bool:
        resource = change.resource
        place = (resource.group, resource.resource)
        return (*place, resource.subresource) in wanted or ((*place, None) in wanted and _as_whole(change))

    return test
