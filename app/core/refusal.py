"""Why a playbook does not fire, or a sink does not take a finding: for people, and for programs."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from app.core.matching import BEGINNING, SELECTORS, Clause, CompiledScope, Facts, Item, failing, requirements
from app.core.text import one_line

_VALUE_LIMIT: Final = 80
_SHOWN: Final = 3
"""Values, patterns and items that are quoted; of the others only how many there are."""


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which rule decided, and how, in a sentence. `attribute` and `patterns` are those of a scope that decided."""

    rule: str
    text: str
    attribute: str = ""
    patterns: tuple[str, ...] = ()


def scope_refusal(scope: CompiledScope, facts: Facts, name: str = "scope") -> Refusal:
    """Say why facts are not within a scope; `name` is the scope's in the configuration."""
    index = scope.excluding(facts)
    if index is not None:
        return _excluded(scope.excluded[index], facts, f"{name}.exclude[{index}]")
    failed = [(item, clause) for item in scope.included if (clause := failing(item, facts)) is not None]
    items = [f"[{index}] {_failure(clause, facts)}" for index, (_, clause) in enumerate(failed)]
    only = failed[0][1] if len(failed) == 1 else None
    return Refusal(
        f"{name}.include",
        f"no item of {name}.include matches: {_listed(items, '; ')}",
        only.attribute if only else "",
        only.patterns if only else (),
    )


def _excluded(item: Item, facts: Facts, rule: str) -> Refusal:
    first = item[0]
    matched = [f"{clause.attribute}{_shown(clause, facts)} matches {_patterns(clause)}" for clause in item]
    return Refusal(rule, f"{rule} matches: {_listed(matched, ' and ')}", first.attribute, first.patterns)


def _failure(clause: Clause, facts: Facts) -> str:
    if facts.get(clause.attribute) is None:
        return f"{clause.attribute} is not known"
    return f"{clause.attribute}{_shown(clause, facts)} does not match {_patterns(clause)}"


def _patterns(clause: Clause) -> str:
    head, tail = BEGINNING.split("{}")
    written = [pattern.removeprefix(head).removesuffix(tail) for pattern in clause.patterns]
    where = " at its beginning" if tuple(BEGINNING.format(each) for each in written) == clause.patterns else ""
    return _listed([repr(one_line(pattern, _VALUE_LIMIT)) for pattern in written], " or ") + where


def match_refusal(match: CompiledScope, facts: Facts) -> Refusal:
    """Say why facts are not within Robusta's older `match`: one item, or a scope."""
    failed = failing(match.included[0], facts) if len(match.included) == 1 and not match.excluded else None
    if failed is None:
        return scope_refusal(match, facts, "match")
    text = f"match does not take it: {_failure(failed, facts)}"
    return Refusal("match", text, failed.attribute, failed.patterns)


def _shown(clause: Clause, facts: Facts) -> str:
    """Show the value, of labels those that are asked for; but nothing of what may hold secrets."""
    found: Any = facts.get(clause.attribute)
    if clause.attribute in ("attributes", "annotations"):
        return ""
    if clause.attribute in SELECTORS:
        keys = dict.fromkeys(key for pattern in clause.patterns for key, _, _ in requirements(pattern))
        return " " + (_listed([f"{key}={_value(found[key])}" for key in keys if key in found], ",") or "(absent)")
    values = found if isinstance(found, (list, tuple)) else [found]
    return " " + (_listed([repr(_value(each)) for each in values], ", ") or "(none)")


def _value(found: object) -> str:
    text = str(found)
    return "…" if "://" in text else one_line(text, _VALUE_LIMIT)  # an address may hold a password


def _listed(texts: list[str], separator: str) -> str:
    more = len(texts) - _SHOWN
    return separator.join(texts[:_SHOWN]) + (f"{separator}{more} more" if more > 0 else "")
