"""Routing: which sinks take a finding. Pure, so that the answer can be recorded with the entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec

from app.core.finding import Finding
from app.core.scope import Facts, Scope

SOURCE: Final = "KUBERNETES_API_SERVER"


class SinkRule(Protocol):
    """What routing reads of a sink's options."""

    @property
    def name(self) -> str:
        """Unique name."""

    @property
    def default(self) -> bool:
        """Whether it gets findings of playbooks that name no sinks."""

    @property
    def scope(self) -> Scope | None:
        """Which findings it takes."""

    @property
    def match(self) -> Scope | None:
        """Older form of the scope."""

    @property
    def stop(self) -> bool:
        """Whether later sinks do not get what it took."""


class Route(msgspec.Struct, frozen=True):
    """A sink's compiled rule."""

    name: str
    default: bool
    stop: bool
    accepts: Callable[[Facts], bool]


Routes = tuple[Route, ...]


def compile_routes(sinks: Iterable[SinkRule]) -> Routes:
    """Compile the rules of the sinks, which keep their order."""
    return tuple(Route(sink.name, sink.default, sink.stop, _acceptance(sink)) for sink in sinks)


def route(routes: Routes, finding: Finding, facts: Facts) -> tuple[str, ...]:
    """Return the names of the sinks that take the finding, in the order of the configuration.

    `finding.sinks` names the sinks that may take it; if it is empty, the default ones may. Their scopes hold in both
    cases, and a sink with `stop` that takes it keeps it from the later ones.
    """
    named, taken = frozenset(finding.sinks), []
    for each in routes:
        if (each.name in named if named else each.default) and each.accepts(facts):
            taken.append(each.name)
            if each.stop:
                break
    return tuple(taken)


def finding_facts(finding: Finding, finding_type: str, subject: Facts) -> Facts:
    """Return what sink scopes may ask: about the finding, and about the change or object that it is about."""
    return _Facts(
        {
            "identifier": finding.aggregation_key,
            "title": finding.title,
            "severity": finding.severity.value,
            "type": finding_type,
            "source": SOURCE,
        },
        subject,
    )


class _Facts(dict[str, Any]):
    """The finding's own facts, with those of its subject behind them, which may be costly to list."""

    def __init__(self, own: Mapping[str, Any], subject: Facts) -> None:
        super().__init__(own)
        self._subject = subject

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else self._subject.get(name, default)


def _acceptance(sink: SinkRule) -> Callable[[Facts], bool]:
    """Return the test of `scope` and `match`.

    As in Robusta: what the scope excludes is refused, what it includes is taken, and `match` decides where the scope
    has nothing to include.
    """
    if sink.scope is not None and (sink.scope.include or sink.match is None):
        return sink.scope.compile()
    scope = sink.scope.compile() if sink.scope else None
    match = sink.match.compile() if sink.match else None

    def accepts(facts: Facts) -> bool:
        return (scope is None or scope(facts)) and (match is None or match(facts))

    return accepts
