"""What can be looked for in the ledger, and the test of an entry for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal

import msgspec

from app.core.actors import CONTROLLERS, PEOPLE, ActorKind
from app.core.identity import first_sequence_at
from app.core.paths import Pattern, compile_pattern, parse
from app.store.search.shapes import Change

COLUMNS: Final = ("kind", "namespace", "name", "username", "operation")
_BY_BODY: Final = ("path", "q", "group", "uid", "actor")

Test = Callable[[bytes], bool]
Condition = tuple[str, tuple[str | int, ...]]
"""A condition of SQL, and its parameters."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """What to look for. Empty fields do not matter; times are unix milliseconds, `until` exclusive.

    `path` is a field pattern that one of the changed fields must match; `dry_run` leaves dry runs or all others out;
    `q` must occur in the entry, in any case. Entries that nobody made, such as of failed Jobs, are of neither `actor`.
    """

    kind: str = ""
    namespace: str = ""
    name: str = ""
    username: str = ""
    operation: str = ""
    path: str = ""
    dry_run: bool | None = None
    since: int | None = None
    until: int | None = None
    q: str = ""
    actor: Literal["", ActorKind] = ""
    group: str = ""
    uid: str = ""


class _Changes(msgspec.Struct):
    changes: list[Change] = []


class _DryRun(msgspec.Struct):
    dry_run: bool = False


class _Resource(msgspec.Struct):
    group: str = ""
    uid: str = ""


class _About(msgspec.Struct):
    resource: _Resource


_changes: Final = msgspec.json.Decoder(_Changes)
_dry_runs: Final = msgspec.json.Decoder(_DryRun)
_abouts: Final = msgspec.json.Decoder(_About)

_ACTORS: Final = {
    "controller": "username >= ? AND username < ? AND username NOT IN (?, ?, ?)",
    "human": "username <> '' AND NOT (username >= ? AND username < ? AND username NOT IN (?, ?, ?))",
}
_ACTOR_NAMES: Final = (CONTROLLERS, CONTROLLERS[:-1] + chr(ord(CONTROLLERS[-1]) + 1), *PEOPLE)


def is_answered_by_the_journal(query: Query, *, within_scope: bool = False) -> bool:
    """Say whether an index of the journal finds just what is wanted, whatever there is of it."""
    columns = sum(bool(getattr(query, column)) for column in COLUMNS) + within_scope
    return columns <= 1 and query.dry_run is None and not any(getattr(query, field) for field in _BY_BODY)


def conditions(query: Query) -> list[Condition]:
    """Return what the columns of the journal tell of a query, times aside."""
    found: list[Condition] = [(f"{column} = ?", (value,)) for column in COLUMNS if (value := getattr(query, column))]
    if query.operation not in ("", "UPDATE"):
        found.append(("operation <> 'UPDATE'", ()))  # which lets the partial index be used
    if query.actor:
        found.append((_ACTORS[query.actor], _ACTOR_NAMES))
    return found


def bounds(query: Query, before: int | None = None) -> tuple[int, int | None]:
    """Return the sequence numbers that a query is about: from the first one on, and below the second one."""
    ends = [end for end in (before, None if query.until is None else first_sequence_at(query.until)) if end is not None]
    return 0 if query.since is None else first_sequence_at(query.since), min(ends, default=None)


def predicate(query: Query) -> Test:
    """Return the test of an entry's JSON for what no column of the journal tells."""
    tests: list[Test] = []
    if query.dry_run is not None:
        tests.append(lambda document: _dry_runs.decode(document).dry_run is query.dry_run)
    if query.group or query.uid:
        tests.append(lambda document: _is_about(_abouts.decode(document).resource, query))
    if query.q:
        wanted = needle(query.q)
        tests.append(lambda document: wanted in folded(document))
    if query.path:
        pattern = compile_pattern(query.path)
        tests.append(lambda document: any(_touches(pattern, each) for each in _changes.decode(document).changes))
    return lambda document: all(test(document) for test in tests)


def needle(text: str) -> str:
    """Return a text as it is written inside a JSON string: a quote or a line break of it is one of the entry's."""
    return msgspec.json.encode(text)[1:-1].decode("utf-8").casefold()


def folded(document: bytes) -> str:
    """Return an entry's JSON as texts are looked for in it: without the difference between cases."""
    return document.decode("utf-8").casefold()


def _is_about(resource: _Resource, query: Query) -> bool:
    return query.group in ("", resource.group) and query.uid in ("", resource.uid)


def _touches(pattern: Pattern, change: Change) -> bool:
    try:
        return pattern.touches(parse(change.path), change.old, change.new)
    except ValueError:  # a field whose name is empty cannot be meant by a pattern
        return False
