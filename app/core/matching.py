"""Scopes compiled: which facts match, and which attribute decides.

A clause is one attribute of an item: any of its patterns must match. An item is clauses that must all hold. A scope has
items that include, of which one must match if there are any, and items that exclude, of which none may.

What is not known matches nothing: an item that asks for it neither includes nor excludes. `CompiledScope.open` says
where that decided, so that nobody takes an unknown for a no.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from app.core.paths import parse

Facts = Mapping[str, Any]
"""What is known of a finding or a change: a string, a list of strings, or a dict for labels and annotations.

None stands for what is not known; only `get` is asked.
"""

Test = Callable[[Any], bool]
Side = Literal["include", "exclude"]

SELECTORS: Final = frozenset({"labels", "annotations", "namespace_labels"})
ANY_CASE: Final = frozenset({"kind", "operation", "severity", "type", "source", "actor"})
BEGINNING: Final = "(?:{})(?s:.*)"
"""What makes a pattern match the beginning of a value, as those of Robusta's older `match` do."""

_ABSENT: Final = object()


def compile_regex(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Compile a regular expression; raises ValueError that says what is wrong with it."""
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def requirements(selector: str, example: str = "key") -> list[tuple[str, str, bool]]:
    """Split `a=x,b!=y` into name, value and whether it must match; raises ValueError for anything else."""
    found = []
    for requirement in selector.split(","):
        name, sign, value = requirement.rpartition("=") if example == "path" else requirement.partition("=")
        wanted = not name.rstrip().endswith("!")
        name = name.strip().removesuffix("!").strip()
        if not sign or not name:
            raise ValueError(f"{requirement.strip()!r} is not a requirement; write {example}=value or {example}!=value")
        found.append((name, value.strip(), wanted))
    return found


def _selector_test(selector: str) -> Test:
    """Compile `app=web,tier!=db.*`: every requirement must hold, values are regular expressions.

    `tier!=x` holds where there is no such label: Robusta documents that selectors "are interpreted like Kubernetes",
    which means that. Its code lets an absent label satisfy neither sign.
    """
    wanted = [(key, compile_regex(value), positive) for key, value, positive in requirements(selector)]

    def test(labels: Mapping[str, str]) -> bool:
        for key, pattern, positive in wanted:
            found = key in labels and pattern.fullmatch(str(labels[key]).strip()) is not None
            if found is not positive:
                return False
        return True

    return test


def _inside(value: Any, segments: tuple[str, ...]) -> Any:
    for segment in segments:
        if isinstance(value, list) and segment.isdigit() and int(segment) < len(value):
            value = value[int(segment)]
        elif isinstance(value, list):
            value = next((item for item in value if isinstance(item, dict) and item.get("name") == segment), _ABSENT)
        else:
            value = value.get(segment, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value


def _fields_test(text: str) -> Test:
    """Compile `spec.type=LoadBalancer, spec.containers[0].name!=web`: fields of the object, compared in any case."""
    wanted = [(parse(path), value.lower(), positive) for path, value, positive in requirements(text, "path")]

    def test(document: Any) -> bool:
        return all(
            (str(_inside(document, segments)).lower() == value) is positive for segments, value, positive in wanted
        )

    return test


def _value_test(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> Test:
    """Compile a regular expression for the whole value, of which any may match where there are several.

    Robusta's documentation links `re.match` beside examples that only make sense for whole values (`namespace: prod`
    is not to match `production`, which has a sink of its own); its code, too, matches the whole.
    """
    fullmatch = compile_regex(pattern, flags).fullmatch

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return fullmatch(value) is not None
        return isinstance(value, (list, tuple)) and any(fullmatch(str(item)) for item in value)

    return test


def _test(attribute: str, pattern: str) -> Test:
    if attribute in SELECTORS:
        return _selector_test(pattern)
    if attribute == "attributes":
        return _fields_test(pattern)
    return _value_test(pattern, re.IGNORECASE if attribute in ANY_CASE else re.NOFLAG)


class Clause(msgspec.Struct, frozen=True):
    """One attribute of an item, and its patterns, of which any must match."""

    attribute: str
    patterns: tuple[str, ...]
    tests: tuple[Test, ...]

    def holds(self, facts: Facts) -> bool:
        """Say whether a pattern matches what is known."""
        value = facts.get(self.attribute)
        if value is None:
            return False
        for test in self.tests:  # noqa: SIM110  a generator costs more than most of these tests
            if test(value):
                return True
        return False


Item = tuple[Clause, ...]


def compile_item(attributes: Mapping[str, Iterable[str]]) -> Item:
    """Compile the attributes of an item; raises ValueError for a pattern that is none."""
    return tuple(
        Clause(name, tuple(patterns), tuple(_test(name, pattern) for pattern in patterns))
        for name, patterns in attributes.items()
    )


def failing(item: Item, facts: Facts) -> Clause | None:
    """Return the first clause that does not hold; None for an item that matches."""
    for clause in item:
        if not clause.holds(facts):
            return clause
    return None


def _unknown(item: Item, facts: Facts) -> list[str]:
    """Return what would have to be known to tell whether the item matches; nothing where what is known decides."""
    unknown = [clause for clause in item if facts.get(clause.attribute) is None]
    known = (clause for clause in item if clause not in unknown)
    return [clause.attribute for clause in unknown] if all(clause.holds(facts) for clause in known) else []


def _all_unknown(items: tuple[Item, ...], facts: Facts) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for item in items for name in _unknown(item, facts)))


class CompiledScope(msgspec.Struct, frozen=True):
    """A scope, to be called with facts: whether they are within."""

    included: tuple[Item, ...] = ()
    excluded: tuple[Item, ...] = ()

    def __call__(self, facts: Facts) -> bool:
        """Say whether an item includes these facts (or there is none that could), and no item excludes them."""
        return self.excluding(facts) is None and (not self.included or self.including(facts) is not None)

    def including(self, facts: Facts) -> int | None:
        """Return the first item of `include` that matches."""
        return _first(self.included, facts)

    def excluding(self, facts: Facts) -> int | None:
        """Return the first item of `exclude` that matches."""
        return _first(self.excluded, facts)

    def open(self, facts: Facts) -> tuple[str, ...]:
        """Return the attributes that are not known, and would have to be for the answer to be certain."""
        if self.excluding(facts) is not None:
            return ()
        perhaps_out = _all_unknown(self.excluded, facts)
        if not self.included or self.including(facts) is not None:
            return perhaps_out
        perhaps_in = _all_unknown(self.included, facts)
        return tuple(dict.fromkeys((*perhaps_in, *perhaps_out))) if perhaps_in else ()

    def attributes(self) -> Iterator[str]:
        """Yield every attribute that is asked for."""
        return (clause.attribute for item in (*self.included, *self.excluded) for clause in item)


def _first(items: tuple[Item, ...], facts: Facts) -> int | None:
    for index, item in enumerate(items):
        if failing(item, facts) is None:
            return index
    return None
