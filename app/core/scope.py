"""Scopes: Robusta's include/exclude vocabulary for saying which objects, users or findings are meant.

A scope is a list of alternatives (OR); an alternative names attributes that must all match (AND); an attribute has one
or more regular expressions (OR), each matched against the whole value, as Robusta does with `re.fullmatch`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Facts = Mapping[str, Any]
"""What is known of a finding or a change: a string, a list of strings, or a dict for labels and annotations."""

SELECTOR_ATTRIBUTES: Final = frozenset({"labels", "annotations", "namespace_labels"})


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[list[str], BeforeValidator(_as_list), Field(min_length=1)]


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _selector_test(selector: str) -> Callable[[Mapping[str, str]], bool]:
    """Compile `app=web,tier!=db.*`: every requirement must hold; a missing label satisfies none (as in Robusta)."""
    requirements: list[tuple[str, re.Pattern[str], bool]] = []
    for requirement in selector.split(","):
        key, sign, value = requirement.partition("=")
        if not sign or not key.strip("! "):
            raise ValueError(f"{requirement.strip()!r} is not a label requirement; write key=regex or key!=regex")
        negated = key.rstrip().endswith("!")
        requirements.append((key.strip().removesuffix("!").strip(), _compiled(value.strip()), not negated))

    def test(labels: Mapping[str, str]) -> bool:
        return all(
            key in labels and bool(pattern.fullmatch(str(labels[key]))) is wanted
            for key, pattern, wanted in requirements
        )

    return test


def _value_test(pattern: str) -> Callable[[Any], bool]:
    fullmatch = _compiled(pattern).fullmatch

    def test(value: Any) -> bool:
        if isinstance(value, str):
            return fullmatch(value) is not None
        if isinstance(value, (list, tuple)):
            return any(fullmatch(str(item)) for item in value)
        return False

    return test


def _test(attribute: str, pattern: str) -> Callable[[Any], bool]:
    return _selector_test(pattern) if attribute in SELECTOR_ATTRIBUTES else _value_test(pattern)


class ScopeItem(BaseModel):
    """One alternative of a scope: all attributes that it names must match."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    identifier: Annotated[Patterns | None, Field(description="The finding's aggregation key.")] = None
    title: Patterns | None = None
    name: Patterns | None = None
    namespace: Patterns | None = None
    node: Patterns | None = None
    severity: Patterns | None = None
    type: Annotated[Patterns | None, Field(description="Finding type: CONF_CHANGE or ISSUE.")] = None
    kind: Patterns | None = None
    source: Patterns | None = None
    labels: Annotated[Patterns | None, Field(description="Selectors such as app=web,tier!=db.*")] = None
    annotations: Annotated[Patterns | None, Field(description="Selectors, as for labels.")] = None
    namespace_labels: Annotated[Patterns | None, Field(description="Selectors, as for labels.")] = None
    user: Annotated[Patterns | None, Field(description="User name as the API server authenticated it.")] = None
    group: Annotated[Patterns | None, Field(description="Any of the user's groups.")] = None
    operation: Annotated[Patterns | None, Field(description="CREATE, UPDATE, DELETE or CONNECT.")] = None
    path: Annotated[Patterns | None, Field(description="Path of any changed field.")] = None
    field_manager: Patterns | None = None
    actor: Annotated[Patterns | None, Field(description="human or controller.")] = None
    api_group: Annotated[Patterns | None, Field(description="API group of the object, empty for core.")] = None
    resource: Annotated[Patterns | None, Field(description="Plural resource name, such as deployments.")] = None
    subresource: Annotated[Patterns | None, Field(description="Subresource, such as scale or exec.")] = None

    @model_validator(mode="after")
    def _check(self) -> ScopeItem:
        if not self.model_fields_set:
            raise ValueError("names no attribute; write at least one, such as namespace: [shop]")
        self.tests()
        return self

    def tests(self) -> dict[str, list[Callable[[Any], bool]]]:
        """Compile the attributes; raises ValueError for a pattern that is no regular expression or selector."""
        return {
            attribute: [_test(attribute, pattern) for pattern in getattr(self, attribute)]
            for attribute in sorted(self.model_fields_set)
            if getattr(self, attribute) is not None
        }


class Scope(BaseModel):
    """What is meant: anything that an `include` item matches (all, if there is none) and no `exclude` item does."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    include: list[ScopeItem] | None = None
    exclude: list[ScopeItem] | None = None

    @model_validator(mode="after")
    def _check(self) -> Scope:
        if not self.include and not self.exclude:
            raise ValueError("needs include or exclude with at least one item")
        return self

    @classmethod
    def from_match(cls, value: object) -> object:
        """Read Robusta's older `match`: one set of attributes that must all match."""
        if isinstance(value, dict) and not value.keys() <= {"include", "exclude"}:
            return {"include": [value]}
        return value or None

    def compile(self) -> Callable[[Facts], bool]:
        """Return the test that says whether facts are within this scope."""
        included = [item.tests() for item in self.include or ()]
        excluded = [item.tests() for item in self.exclude or ()]

        def matches(item: dict[str, list[Callable[[Any], bool]]], facts: Facts) -> bool:
            return all(
                attribute in facts and any(test(facts[attribute]) for test in tests)
                for attribute, tests in item.items()
            )

        def within(facts: Facts) -> bool:
            if any(matches(item, facts) for item in excluded):
                return False
            return not included or any(matches(item, facts) for item in included)

        return within
