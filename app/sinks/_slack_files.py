"""Files beside a message in Slack: what is too long for it, whole up to a limit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from app.core import text as plain
from app.core.change import FieldChange
from app.core.finding import Block, DiffBlock, FileBlock, JsonBlock, Notification
from app.sinks._text import FILE_LINES, VALUE_LIMIT

FIELDS_SHOWN: Final = 20
"""Field changes in a message that has them in a file too."""

JSON_LINES: Final = 30
"""Lines of a JSON document in a message that has it in a file too."""

# What is cut to this, between words or not, is still longer than what a message shows.
_LONGER: Final = 2 * VALUE_LIMIT
# Room for the line that says how much is missing.
_LAST_LINE: Final = 32
_MOST_FILES: Final = 10
# More than any object in a cluster has.
_WHOLE: Final = 1 << 30
_CONTEXT_LINES: Final = 3
_UNUSUAL: Final = re.compile(r"[^A-Za-z0-9._-]+")


class File(NamedTuple):
    """A text file, in UTF-8."""

    name: str
    content: str


def files(notification: Notification, limit: int, *, crowded: bool) -> tuple[File, ...]:
    """Return a file for each block that a message cannot show whole, of at most `limit` bytes each.

    `crowded` says that not even the lines of moderate length have room in the message.
    """
    made = (_file(block, notification, limit, crowded) for block in plain.shown_blocks(notification))
    return tuple(file for file in made if file and file.content)[:_MOST_FILES]


def _file(block: Block, notification: Notification, limit: int, crowded: bool) -> File | None:
    match block:
        case DiffBlock(changes=changes) if crowded or len(changes) > FIELDS_SHOWN or any(map(_is_cut, changes)):
            return File("changes.diff", diff(changes, limit))
        case FileBlock(name=name, content=content) if crowded or _is_long(content):
            return File(_safe(name), _end(content, limit))
        case JsonBlock(value=value):
            every = json_lines(value)
            if crowded or len(every) > JSON_LINES or max(map(len, every)) > VALUE_LIMIT:
                return File(_safe(f"{notification.entry.resource}.json"), _beginning(every, limit))
    return None


def _is_cut(change: FieldChange) -> bool:
    return any(len(plain.value(each, _LONGER)) > VALUE_LIMIT for each in (change.old, change.new))


def _is_long(content: str) -> bool:
    every = plain.lines(content, _LONGER)
    return len(every) > FILE_LINES or max(map(len, every)) > VALUE_LIMIT


def _safe(name: str) -> str:
    return _UNUSUAL.sub("-", name)[-100:].strip(".-") or "file"


def json_lines(value: Any) -> list[str]:
    """Return a JSON document as harmless lines, indented."""
    return plain.lines(msgspec.json.format(msgspec.json.encode(value), indent=2).decode(), _WHOLE)


def _end(content: str, limit: int) -> str:
    """Return the end of a text, from a line border: the end of a log says most."""
    encoded = content.encode(errors="replace")
    if len(encoded) > limit:
        _, _, rest = encoded[-limit:].partition(b"\n")
        content = (rest or encoded[-limit:]).decode(errors="ignore")
    return "\n".join(plain.lines(content, limit))


def _beginning(lines: Sequence[str], limit: int) -> str:
    """Return as many of the lines as fit; the last one says how many did not."""
    room = limit - _LAST_LINE
    for number, line in enumerate(lines):
        room -= len(line.encode()) + 1
        if room < 0:
            return "\n".join([*lines[:number], f"{plain.ELLIPSIS} {len(lines) - number} more lines"])
    return "\n".join(lines)


def diff(changes: Sequence[FieldChange], limit: int) -> str:
    """Return field changes as a unified diff in which every field is a hunk; whole hunks are left out from the end."""
    kept: list[str] = []
    room = limit - _LAST_LINE
    for number, change in enumerate(changes):
        hunk = "\n".join(_hunk(change, limit))
        room -= len(hunk.encode()) + 1
        if room < 0:
            beginning = [_beginning(hunk.splitlines(), limit - _LAST_LINE)] if number == 0 else []
            left = len(changes) - max(number, len(beginning))
            return "\n".join([*kept, *beginning, *([f"{plain.ELLIPSIS} {left} more fields"] if left else [])])
        kept.append(hunk)
    return "\n".join(kept)


def _hunk(change: FieldChange, limit: int) -> Iterator[str]:
    old, new = _value_lines(change.old, limit), _value_lines(change.new, limit)
    first, last = _equal(old, new), 0
    if first < min(len(old), len(new)):
        last = _equal(old[first:][::-1], new[first:][::-1])
    before, after = len(old) - last, len(new) - last
    yield f"@@ {plain.one_line(change.path)} @@"
    yield from (f" {line}" for line in old[max(first - _CONTEXT_LINES, 0) : first])
    yield from (f"-{line}" for line in old[first:before])
    yield from (f"+{line}" for line in new[first:after])
    yield from (f" {line}" for line in old[before : before + _CONTEXT_LINES])


def _value_lines(value: Any, limit: int) -> list[str]:
    if value is msgspec.UNSET:
        return []
    if isinstance(value, str):
        return plain.lines(value, limit) if "\n" in value.rstrip("\n") else [plain.value(value, limit)]
    return json_lines(value)


def _equal(one: Sequence[str], other: Sequence[str]) -> int:
    """Count the equal lines at the beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((number for number, (left, right) in pairs if left != right), min(len(one), len(other)))
