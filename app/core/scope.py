"""Scopes: Robusta's include/exclude vocabulary for saying which objects, users or findings are meant.

A scope is a list of alternatives (OR); an alternative names attributes that must all match (AND); an attribute has one
or more regular expressions (OR), each matched against the whole value, as Robusta does with `re.fullmatch`. Words with
a fixed spelling (kinds, operations, severities) match in any case.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.core.matching import BEGINNING, SELECTORS, CompiledScope, Item, compile_item, compile_regex, requirements


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Patterns = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str]), Field(min_length=1)]


class ChangeScopeItem(BaseModel):
    """One alternative of a scope: all attributes that it names must match. Values are regular expressions."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[Patterns | None, Field(description="Name of the object.")] = None
    namespace: Annotated[Patterns | None, Field(description="Namespace; empty for cluster-wide objects.")] = None
    kind: Annotated[Patterns | None, Field(description="Kind, such as Deployment, in any case.")] = None
    labels: Annotated[
        Patterns | None,
        Field(
            description="Selectors such as app=web,tier!=db.*; values are regular expressions, and as in Kubernetes"
            " != holds for an absent label, too."
        ),
    ] = None
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
    namespace_labels: Annotated[
        Patterns | None,
        Field(
            description="Selectors, as for labels, of the labels of the object's namespace. They are followed live,"
            " for which the program needs the verbs list and watch on namespaces; while they are not known, an"
            " item that asks for them matches nothing."
        ),
    ] = None

    @model_validator(mode="after")
    def _check(self) -> ChangeScopeItem:
        if not self.compile():
            raise ValueError("names no attribute; write at least one, such as namespace: [shop]")
        return self

    def compile(self) -> Item:
        """Compile the attributes; raises ValueError for a pattern that is no regular expression or selector."""
        named = {attribute: getattr(self, attribute) for attribute in sorted(self.model_fields_set)}
        return compile_item({attribute: patterns for attribute, patterns in named.items() if patterns is not None})


class ScopeItem(ChangeScopeItem):
    """One alternative of a sink's scope: what is known of the change, and of the finding about it."""

    identifier: Annotated[Patterns | None, Field(description="The finding's aggregation key.")] = None
    title: Annotated[Patterns | None, Field(description="The finding's title.")] = None
    severity: Annotated[Patterns | None, Field(description="DEBUG, INFO, LOW, MEDIUM or HIGH.")] = None
    type: Annotated[Patterns | None, Field(description="CONF_CHANGE or ISSUE.")] = None
    source: Annotated[Patterns | None, Field(description="KUBERNETES_API_SERVER.")] = None


def compile_scope(include: list[ChangeScopeItem] | None, exclude: list[ChangeScopeItem] | None) -> CompiledScope:
    """Return the test that says whether facts match an included item (if there are any) and no excluded one."""
    return CompiledScope(
        included=tuple(item.compile() for item in include or ()),
        excluded=tuple(item.compile() for item in exclude or ()),
    )


class _IncludeExclude(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    include: Any = None
    exclude: Any = None

    @model_validator(mode="after")
    def _check(self) -> _IncludeExclude:
        # An empty mapping means no restriction: Robusta's overview of the sinks' options writes `scope: {}` for that.
        if self.model_fields_set and not self.include and not self.exclude:
            raise ValueError("needs include or exclude with at least one item")
        return self

    def compile(self) -> CompiledScope:
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
        wanted = requirements(pattern)
        return ",".join(f"{name}{'=' if positive else '!='}{re.escape(value)}" for name, value, positive in wanted)
    if attribute == "attributes":
        return pattern
    return BEGINNING.format(compile_regex(pattern).pattern)


Match = Annotated[Scope | None, BeforeValidator(Scope.from_match, json_schema_input_type=ScopeItem | Scope | None)]
"""Robusta's older form of a sink's scope."""
