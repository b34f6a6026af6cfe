"""Routing: which sinks take a finding. Pure, so that the answer can be recorded with the entry.

The rules are those of Robusta's documentation. A sink takes a finding if the playbook names it, or names none and the
sink is a default one; if it is active and not muted; if its scope does not exclude the finding; and if its scope, or
else its `match`, includes it. Sinks are asked in the order of the configuration, and one with `stop` that took the
finding keeps it from those after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal, Protocol

import msgspec

from app.core.finding import Finding
from app.core.matching import CompiledScope, Facts
from app.core.refusal import Refusal, match_refusal, scope_refusal
from app.core.scope import Scope
from app.core.windows import Activity, MuteInterval, Silence, compile_windows

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

    @property
    def activity(self) -> Activity | None:
        """When it is active."""

    @property
    def mute_intervals(self) -> Sequence[MuteInterval] | None:
        """When it is muted."""


class Route(msgspec.Struct, frozen=True):
    """A sink's compiled rule."""

    name: str
    default: bool
    stop: bool
    scope: CompiledScope | None = None
    match: CompiledScope | None = None
    silence: Silence | None = None

    def accepts(self, facts: Facts) -> bool:
        """Say whether the scope, or the older `match`, takes the finding.

        What the scope excludes is refused. What it includes is taken, and what it does not include is taken if `match`
        includes it: so Robusta documents its rules, while its code then refuses it all the same.
        """
        scope, match = self.scope, self.match
        if scope is not None and scope.excluding(facts) is not None:
            return False
        includes = scope is not None and bool(scope.included)
        if scope is not None and includes and scope.including(facts) is not None:
            return True
        return match(facts) if match is not None else not includes

    def open(self, facts: Facts) -> tuple[str, ...]:
        """Return the attributes that are not known, and would have to be for the answer to be certain."""
        scope, match = self.scope, self.match
        if scope is not None and scope.excluding(facts) is not None:
            return ()
        asked = scope.open(facts) if scope is not None else ()
        if match is not None and (scope is None or scope.including(facts) is None):
            asked = (*asked, *match.open(facts))
        return tuple(dict.fromkeys(asked))


Routes = tuple[Route, ...]
Obstacle = Literal["sinks", "default", "stop", "time", "scope"]
"""What keeps a finding from a sink: the playbook names others, it is no default, an earlier sink took all, ..."""


def compile_routes(sinks: Iterable[SinkRule]) -> Routes:
    """Compile the rules of the sinks, which keep their order."""
    return tuple(
        Route(
            name=sink.name,
            default=sink.default,
            stop=sink.stop,
            scope=sink.scope.compile() if sink.scope else None,
            match=sink.match.compile() if sink.match else None,
            silence=compile_windows(sink.activity, sink.mute_intervals),
        )
        for sink in sinks
    )


def decide(
    routes: Routes, finding: Finding, facts: Facts, now: datetime | None
) -> Iterator[tuple[Route, Obstacle | None]]:
    """Yield every sink in the order of the configuration, and what keeps the finding from it, None if it takes it.

    `finding.sinks` names the sinks that may take it; if it is empty, the default ones may. All other rules hold in both
    cases. Without a moment every sink is active.
    """
    named, stopped = frozenset(finding.sinks), False
    for each in routes:
        obstacle = _obstacle(each, named, facts, now, stopped=stopped)
        stopped = stopped or (obstacle is None and each.stop)
        yield each, obstacle


def _obstacle(
    route: Route, named: frozenset[str], facts: Facts, now: datetime | None, *, stopped: bool
) -> Obstacle | None:
    if named and route.name not in named:
        return "sinks"
    if not named and not route.default:
        return "default"
    if stopped:
        return "stop"
    if now is not None and route.silence is not None and route.silence(now) is not None:
        return "time"
    return None if route.accepts(facts) else "scope"


def takers(routes: Routes, finding: Finding, facts: Facts, now: datetime | None = None) -> tuple[str, ...]:
    """Return the names of the sinks that take the finding, in the order of the configuration."""
    return tuple([each.name for each, obstacle in decide(routes, finding, facts, now) if obstacle is None])


def refusal(route: Route, obstacle: Obstacle, facts: Facts, now: datetime | None, by: str = "") -> Refusal:
    """Put into words what `decide` said; `by` names the sink that stopped the finding."""
    if obstacle == "time" and now is not None and route.silence is not None and (found := route.silence(now)):
        return found
    if obstacle == "scope":
        return _scope_refusal(route, facts)
    return Refusal(obstacle, _SENTENCES[obstacle].format(by=by))


_SENTENCES: Final = {
    "sinks": "the playbook names other sinks",
    "default": "the playbook names no sinks, and this one has default: false",
    "stop": "{by} took it, and has stop: true",
    "time": "it is silent now",
}


def _scope_refusal(route: Route, facts: Facts) -> Refusal:
    if route.scope is not None and not route.scope(facts):
        found = scope_refusal(route.scope, facts)
        if route.match is None or found.rule != "scope.include":
            return found
        text = f"{found.text}; and {match_refusal(route.match, facts).text}"
        return Refusal(found.rule, text, found.attribute, found.patterns)
    return match_refusal(route.match, facts) if route.match is not None else Refusal("scope", "refused")


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
