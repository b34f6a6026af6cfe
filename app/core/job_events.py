"""Events: what the cluster said of a Job and of its Pods."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from app.core.durations import relative
from app.core.finding import Block, TableBlock, TextBlock
from app.core.raw import moment, number, string
from app.core.redact import Redactor
from app.core.text import one_line

CELL_LIMIT: Final = 1000
"""Characters of one cell of a table."""

WARNING: Final = "Warning"


class EventLine(msgspec.Struct, frozen=True, kw_only=True):
    """What was said, how often, and when last (UTC; None if nobody knows). `kind` and `name` say of what."""

    type: str = ""
    reason: str = ""
    message: str = ""
    kind: str = ""
    name: str = ""
    count: int = 1
    at: datetime | None = None


def read_events(documents: Iterable[Any], redactor: Redactor) -> tuple[EventLine, ...]:
    """Return the Events (core/v1, with a series or without), equal ones as one; warnings first, newest last.

    Total: what has an odd shape is left out.
    """
    lines: dict[tuple[str, ...], EventLine] = {}
    for line in (_line(document, redactor) for document in documents if isinstance(document, dict)):
        key = (line.type, line.reason, line.message, line.kind, line.name)
        lines[key] = _together(lines[key], line) if key in lines else line
    return tuple(sorted(lines.values(), key=_order))


def events_table(
    title: str,
    lines: Sequence[EventLine],
    *,
    at: datetime,
    types: Collection[str],
    limit: int,
    named: bool,
) -> tuple[Block, ...]:
    """Return the newest events of these types as a table, with the count of those left out; nothing if there are none.

    `named` adds a column that says of which object each is. Ages are relative to `at`.
    """
    wanted = [line for line in lines if line.type in types]
    newest = sorted(sorted(wanted, key=_age)[-limit:], key=_order)
    if not newest:
        return ()
    headers = ("type", "reason", "age", "count", *(("of",) if named else ()), "message")
    table = TableBlock(headers=headers, rows=tuple(_row(line, at, named) for line in newest), title=title)
    left_out = len(wanted) - len(newest)
    if not left_out:
        return (table,)
    return table, TextBlock(f"{title}: {left_out} older {'one is' if left_out == 1 else 'ones are'} not shown.")


def _line(document: Mapping[str, Any], redactor: Redactor) -> EventLine:
    counts = number(document, "series", "count"), number(document, "count")
    return EventLine(
        type=string(document, "type"),
        reason=redactor.text(string(document, "reason")),
        message=one_line(redactor.text(string(document, "message")), CELL_LIMIT),
        kind=string(document, "involvedObject", "kind"),
        name=string(document, "involvedObject", "name"),
        count=max(1, *(count or 1 for count in counts)),
        at=_seen(document),
    )


def _seen(document: Mapping[str, Any]) -> datetime | None:
    """Return when it was seen last: new-style events have `eventTime` and perhaps a series, older ones timestamps."""
    texts = (
        string(document, "series", "lastObservedTime"),
        string(document, "lastTimestamp"),
        string(document, "eventTime"),
        string(document, "metadata", "creationTimestamp"),
    )
    return next((seen for seen in map(moment, texts) if seen), None)


def _together(one: EventLine, other: EventLine) -> EventLine:
    newest = max(one, other, key=_age)
    return msgspec.structs.replace(newest, count=one.count + other.count)


def _age(line: EventLine) -> tuple[bool, float]:
    return line.at is not None, line.at.timestamp() if line.at else 0


def _order(line: EventLine) -> tuple[bool, bool, float]:
    return line.type != WARNING, *_age(line)


def _row(line: EventLine, at: datetime, named: bool) -> tuple[str, ...]:
    age = relative(line.at, at) if line.at else ""
    of = (f"{line.kind} {line.name}",) if named else ()
    cells = (line.type, line.reason, age, str(line.count), *of, line.message)
    return tuple(one_line(cell, CELL_LIMIT) for cell in cells)
