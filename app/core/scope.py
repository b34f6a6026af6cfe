"""Scopes: Robusta's include/exclude vocabulary for saying which objects, users or findings are meant.

A scope is a list of alternatives (OR); an alternative names attributes that must all match (AND); an attribute has one
or more regular expressions (OR), each matched against the whole value, as Robusta does with `re.fullmatch`. Words with
a fixed spelling (kinds, operations, severities) match in any case.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.core.paths import parse

Facts = Mapping[str, Any]
"""What is known of a finding or a change: a string, a list of strings, or a dict for labels and annotations."""

Test = Callable[[Any], bool]

SELECTORS: Final = frozenset({"labels", "annotations"})
ANY_CASE: Final = frozenset({"kind", "operation", "severity", "type", "source", "actor"})
_ABSENT: Final = object()


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str]), Field(min_length=1)]


def compile_regex(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Compile a regular expression; raises ValueError that says what is wrong with it."""
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _requirements(selector: str, example: str) -> list[tuple[str, str, bool]]:
    """Split `a=x,b!=y` into name, value and whether it must match."""
    requirements = []
    for requirement in selector.split(","):
        name, sign, value = requirement.rpartition("=") if example == "path" else requirement.partition("=")
        wanted = not name.rstrip().endswith("!")
        name = name.strip().removesuffix("!").strip()
        if not sign or not name:
            raise ValueError(f"{requirement.strip()!r} is not a requirement; write {example}=value or {example}!=value")
        requirements.append((name, value.strip(), wanted))
    return requirements


def _selector_test(selector: str) -> Test:
    """Compile `app=web,tier!=db.*`: every requirement must hold; a missing label satisfies none (as in Robusta)."""
    requirements = [(key, compile_regex(value), wanted) for key, value, wanted in _requirements(selector, "key")]

    def test(labels: Mapping[str, str]) -> bool:
        return all(
            key in labels and bool(pattern.fullmatch(str(labels[key]).strip())) is wanted
            for key, pattern, wanted in requirements
        )

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
    requirements = [(parse(path), value.lower(), wanted) for path, value, wanted in _requirements(text, "path")]

    def test(document: Any) -> bool:
        return all(
            (str(_inside(document, segments)).lower() == value) is wanted for segments, value, wanted in requirements
        )

    return test


def _value_test(pattern: str, flags: re.RegexFlag = re.NOFLAG) -> Test:
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


class ChangeScopeItem(BaseModel):
    """One alternative of a scope: all attributes that it names must match. Values are regular expressions."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[Patterns | None, Field(description="Name of the object.")] = None
    namespace: Annotated[Patterns | None, Field(description="Namespace; empty for cluster-wide objects.")] = None
    kind: Annotated[Patterns | None, Field(description="Kind, such as Deployment, in any case.")] = None
    labels: Annotated[Patterns | None, Field(description="Selectors such as app=web,tier!=db.*")] = None
    annotations: Annotated[Patterns | None, Field(description="Selectors, as for labels.")] = None
    attributes: Annotated[
        Patterns | None,
        Field(description="Fields of the object, such as spec.type=LoadBalancer, spec.replicas!=0; not regexes."),
    ] = None
    node: Annotated[Patterns | None, Field(description="Name of a Node, or the node of a Pod.")] = None
    user: Annotated[Patterns | None, Field(description="User name as the API server authenticated it.")] = None
    group: Annotated[Patterns | None, Field(description="Any of the user's groups.")] = None
    operation: Annotated[Patterns | None, Field(description="CREATE, UPDATE, DELETE or CONNECT.")] = None
    path: Annotated[Patterns | None, Field(description=r"Path of any changed field, such as spec\.replicas.")] = None
    field_manager: Annotated[Patterns | None, Field(description="Tool, such as kubectl-edit or helm.")] = None
    actor: Annotated[Patterns | None, Field(description="human or controller.")] = None
    api_group: Annotated[Patterns | None, Field(description="API group of the object, empty for core.")] = None
    resource: Annotated[Patterns | None, Field(description="Plural resource name, such as deployments.")] = None
    subresource: Annotated[Patterns | None, Field(description="Subresource, such as scale or exec.")] = None

    @model_validator(mode="after")
    def _check(self) -> ChangeScopeItem:
        if not self.tests():
            raise ValueError("names no attribute; write at least one, such as namespace: [shop]")
        return self

    def tests(self) -> dict[str, list[Test]]:
        """Compile the attributes; raises ValueError for a pattern that is no regular expression or selector."""
        return {
            attribute: [_test(attribute, pattern) for pattern in getattr(self, attribute)]
            for attribute in sorted(self.model_fields_set)
            if getattr(self, attribute) is not None
        }


class ScopeItem(ChangeScopeItem):
    """One alternative of a sink's scope: what is known of the change, and of the finding about it."""

    identifier: Annotated[Patterns | None, Field(description="The finding's aggregation key.")] = None
    title: Annotated[Patterns | None, Field(description="The finding's title.")] = None
    severity: Annotated[Patterns | None, Field(description="DEBUG, INFO, LOW, MEDIUM or HIGH.")] = None
    type: Annotated[Patterns | None, Field(description="CONF_CHANGE or ISSUE.")] = None
    source: Annotated[Patterns | None, Field(description="KUBERNETES_API_SERVER.")] = None


def _matches(item: dict[str, list[Test]], facts: Facts) -> bool:
    for attribute, tests in item.items():
        value = facts.get(attribute)
        if value is None or not any(test(value) for test in tests):
            return False
    return True


def compile_scope(
    include: list[ChangeScopeItem] | None, exclude: list[ChangeScopeItem] | None
) -> Callable[[Facts], bool]:
    """Return the test that says whether facts match an included item (if there are any) and no excluded one."""
    included = [item.tests() for item in include or ()]
    excluded = [item.tests() for item in exclude or ()]

    def within(facts: Facts) -> bool:
        if any(_matches(item, facts) for item in excluded):
            return False
        return not included or any(_matches(item, facts) for item in included)

    return within


class _IncludeExclude(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    include: Any = None
    exclude: Any = None

    @model_validator(mode="after")
    def _check(self) -> _IncludeExclude:
        if not self.include and not self.exclude:
            raise ValueError("needs include or exclude with at least one item")
        return self

    def compile(self) -> Callable[[Facts], bool]:
        """Return the test that says whether facts are within this scope."""
        return compile_scope(self.include, self.exclude)


class ChangeScope(_IncludeExclude):
    """Which changes are meant: any that an `include` item matches (all, if there is none) and no `exclude` item."""

    include: Annotated[list[ChangeScopeItem] | None, Field(description="At least one must match.")] = None
    exclude: Annotated[list[ChangeScopeItem] | None, Field(description="None may match.")] = None


class Scope(_IncludeExclude):
    """Which findings are meant: any that an `include` item matches (all, if there is none) and no `exclude` item."""

    include: Annotated[list[ScopeItem] | None, Field(description="At least one must match.")] = None
    exclude: Annotated[list[ScopeItem] | None, Field(description="None may match.")] = None

    @classmethod
    def from_match(cls, value: object) -> object:
        """Read Robusta's older `match`: one set of attributes that must all match, from the beginning of the value.

        Its regular expressions need not match the whole value (`re.match`), and its labels are no expressions at all.
        """
        if not isinstance(value, dict) or value.keys() & {"include", "exclude"}:
            return value or None
        item = {name: _older(str(name), patterns) for name, patterns in value.items()}
        return {"include": [item]} if item else None


def _older(attribute: str, patterns: object) -> object:
    if not isinstance(patterns, list):
        return _older(attribute, [patterns])[0] if isinstance(patterns, str) else patterns  # type: ignore[index]
    return [_older_pattern(attribute, pattern) if isinstance(pattern, str) else pattern for pattern in patterns]


def _older_pattern(attribute: str, pattern: str) -> str:
    if attribute in SELECTORS:
        return ",".join(name + "=" + re.escape(value) for name, value, _ in _requirements(pattern, "key"))
    return f"(?:{compile_regex(pattern).pattern})(?s:.*)"


Match = Annotated[Scope | None, BeforeValidator(Scope.from_match, json_schema_input_type=ScopeItem | Scope | None)]
"""Robusta's older form of a sink's scope."""
