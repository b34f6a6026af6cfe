"""Entries as lines of a file: rows of a table for people, whole documents for programs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal, TypeAlias

import msgspec

from app.core import spreadsheet
from app.core.change import Entry
from app.core.spreadsheet import line, number, value, word

Format: TypeAlias = Literal["csv", "jsonl"]
Rows: TypeAlias = Literal["changes", "entries"]
"""What a row of the table is: one changed field with its entry, or one entry."""

MEDIA_TYPES: Final[dict[Format, str]] = {
    "csv": "text/csv; charset=utf-8; header=present",
    "jsonl": "application/x-ndjson",
}
"""RFC 4180 with RFC 7111's parameter; JSON lines have no registered type, this is the one in use."""

ENTRY_COLUMNS: Final[dict[str, Callable[[Entry], str]]] = {
    "time": lambda entry: word(entry.at),
    "entry": lambda entry: word(entry.id),
    "cluster": lambda entry: word(entry.cluster),
    "operation": lambda entry: word(entry.operation),
    "dry_run": lambda entry: word("true" if entry.dry_run else "false"),
    "outcome": lambda entry: word(entry.outcome),
    "group": lambda entry: word(entry.resource.group),
    "kind": lambda entry: word(entry.resource.kind),
    "namespace": lambda entry: word(entry.resource.namespace),
    "name": lambda entry: word(entry.resource.name),
    "subresource": lambda entry: word(entry.resource.subresource),
    "uid": lambda entry: word(entry.resource.uid),
    "user": lambda entry: word(entry.user.username),
    "actor": lambda entry: word(entry.actor.kind if entry.user.username else ""),
    "groups": lambda entry: word("; ".join(entry.user.groups)),
    "field_manager": lambda entry: word(entry.field_manager),
    "pod": lambda entry: word(entry.actor.pod),
    "node": lambda entry: word(entry.actor.node),
    "playbooks": lambda entry: word("; ".join(finding.playbook for finding in entry.findings)),
    "truncated": lambda entry: word("true" if entry.truncated is True else "false"),
    "repeat_of": lambda entry: word(entry.repeat_of or ""),
    "changes": lambda entry: number(len(entry.changes)),
}
"""Columns about an entry: a contract, as new ones are added after the last one of a row only."""

CHANGE_COLUMNS: Final = ("change", "path", "op", "old", "new")
PATH_COLUMNS: Final = ("paths",)

_NO_CHANGE: Final = ("",) * len(CHANGE_COLUMNS)
_entry: Final = msgspec.json.Decoder(Entry)


class _Identified(msgspec.Struct):
    id: str = ""


def columns(rows: Rows) -> tuple[str, ...]:
    """Return the names of the columns, in order."""
    return (*ENTRY_COLUMNS, *(CHANGE_COLUMNS if rows == "changes" else PATH_COLUMNS))


def beginning(format_: Format, rows: Rows) -> bytes:
    """Return what stands before the first entry: the byte order mark and the header of a table, else nothing."""
    if format_ == "jsonl":
        return b""
    return spreadsheet.BEGIN + line(columns(rows)).encode()


def lines(documents: Iterable[bytes | msgspec.Raw], format_: Format, rows: Rows) -> bytes:
    """Return the lines of entries that are JSON. What cannot be read of a table's is said in a row of its own."""
    if format_ == "jsonl":
        # Within JSON's strings there are no line breaks.
        return b"".join(bytes(document).replace(b"\n", b" ") + b"\n" for document in documents)
    return "".join(line(cells) for document in documents for cells in _cells(document, rows)).encode()


def _cells(document: bytes | msgspec.Raw, rows: Rows) -> Iterator[tuple[str, ...]]:
    try:
        entry = _entry.decode(document)
    except msgspec.MsgspecError:
        yield _unreadable(document, rows)
        return
    about = tuple(write(entry) for write in ENTRY_COLUMNS.values())
    if rows == "entries":
        yield (*about, word("; ".join(change.path for change in entry.changes)))
    elif not entry.changes:
        yield (*about, *_NO_CHANGE)
    for count, change in enumerate(entry.changes if rows == "changes" else (), 1):
        yield (*about, number(count), word(change.path), word(change.op), value(change.old), value(change.new))


def _unreadable(document: bytes | msgspec.Raw, rows: Rows) -> tuple[str, ...]:
    """Return the row of an entry that was damaged, or that a newer version wrote: its id, if that is left."""
    try:
        found = msgspec.json.decode(document, type=_Identified).id
    except msgspec.MsgspecError:
        found = ""
    known = {"entry": word(found), "outcome": word("unreadable")}
    return tuple(known.get(name, "") for name in columns(rows))
