"""Recorded changes: what the ledger knows of those who changed a Job, or what it comes from, before it failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from app.core.change import FieldChange
from app.core.durations import relative
from app.core.finding import Block, TableBlock, TextBlock
from app.core.job_events import CELL_LIMIT
from app.core.raw import items, moment, string
from app.core.text import change, one_line

CHANGES_SHOWN: Final = 10
FIELD_LIMIT: Final = 200
"""Characters of a field's value: one long value must not hide the other fields."""

_FIELDS_IN_A_SENTENCE: Final = 3
_NO_CHANGES: Final = frozenset({"FAILED", "CONNECT"})


class RecordedChange(msgspec.Struct, frozen=True, kw_only=True):
    """One change that the ledger holds, redacted as it is there. `fields` reads `path: old -> new`."""

    at: datetime
    user: str = ""
    operation: str = ""
    field_manager: str = ""
    fields: tuple[str, ...] = ()
    entry: str = ""

    @property
    def who(self) -> str:
        """Who, and with what: `alice with kubectl-edit`."""
        return f"{self.user or 'an unknown user'}{f' with {self.field_manager}' if self.field_manager else ''}"

    @property
    def what(self) -> str:
        """The changed fields, or what was done instead."""
        return "; ".join(self.fields) or {"CREATE": "created", "DELETE": "deleted"}.get(self.operation, "changed")


def is_change(entry: Mapping[str, Any]) -> bool:
    """Return whether an entry of the ledger is a change: no dry run, no failure of a Job, no `kubectl exec`."""
    return string(entry, "operation") not in _NO_CHANGES and entry.get("dry_run") is not True


def read_changes(entries: Iterable[Mapping[str, Any]]) -> tuple[RecordedChange, ...]:
    """Return the changes among entries of the ledger (their JSON), newest first.

    Total: an entry without a time is left out.
    """
    read = [change for entry in entries if (change := _change(entry)) is not None]
    return tuple(sorted(read, key=lambda change: change.at, reverse=True))


def changes_blocks(subject: str, changes: Sequence[RecordedChange], at: datetime) -> tuple[Block, ...]:
    """Return the most telling change before `at` as a sentence, and a table of the last ones; nothing without any."""
    if not changes:
        return ()
    table = TableBlock(
        headers=("when", "who", "what"),
        rows=tuple(_row(each, at) for each in changes[:CHANGES_SHOWN]),
        title=one_line(f"Last changes of {subject}"),
    )
    telling = _most_telling(changes, at)
    sentence = (TextBlock(_sentence(subject, telling, at)),) if telling else ()
    left_out = len(changes) - CHANGES_SHOWN
    rest = (TextBlock(f"Changes of {subject}: {left_out} older not shown."),) if left_out > 0 else ()
    return (*sentence, table, *rest)


def _change(entry: Any) -> RecordedChange | None:
    at = moment(string(entry, "at"))
    if at is None or not is_change(entry):
        return None
    return RecordedChange(
        at=at,
        user=string(entry, "user", "username"),
        operation=string(entry, "operation"),
        field_manager=string(entry, "field_manager"),
        fields=tuple(_field(field) for field in items(entry, "changes") if isinstance(field, dict)),
        entry=string(entry, "id"),
    )


def _field(field: Mapping[str, Any]) -> str:
    old, new = field.get("old", msgspec.UNSET), field.get("new", msgspec.UNSET)
    return change(FieldChange(string(field, "path"), "replace", old, new), FIELD_LIMIT)


def _most_telling(changes: Sequence[RecordedChange], at: datetime) -> RecordedChange | None:
    """Return the newest change of the spec before the failure; if there is none, the newest change."""
    before = [each for each in changes if each.at <= at]
    of_spec = (each for each in before if any(field.startswith("spec") for field in each.fields))
    return next(of_spec, before[0] if before else None)


def _sentence(subject: str, told: RecordedChange, at: datetime) -> str:
    fields = "; ".join(told.fields[:_FIELDS_IN_A_SENTENCE])
    more = len(told.fields) - _FIELDS_IN_A_SENTENCE
    rest = f"; and {more} more field{'' if more == 1 else 's'}" if more > 0 else ""
    verb = {"CREATE": "was created", "DELETE": "was deleted"}.get(told.operation, "changed")
    when = relative(told.at, at).replace("before", "before the failure")
    body = one_line(f"{subject} {verb} {when}, by {told.who}{f': {fields}{rest}' if fields else ''}", CELL_LIMIT - 1)
    return body if body.endswith("…") else f"{body}."


def _row(told: RecordedChange, at: datetime) -> tuple[str, ...]:
    return relative(told.at, at), one_line(told.who, CELL_LIMIT), one_line(told.what, CELL_LIMIT)
