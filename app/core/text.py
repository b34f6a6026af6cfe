r"""Plain text for people: hostile text made harmless, long text made short, findings as lines.

Names and values come from strangers. A terminal escape, a bidirectional override or a newline in one of them must
not be able to change how the rest reads, so what would be invisible is written as an escape such as `\u202e`.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from app.core.change import Entry, FieldChange
from app.core.finding import (
    Block,
    DiffBlock,
    FileBlock,
    Finding,
    JsonBlock,
    Notification,
    TableBlock,
    TextBlock,
)

ABSENT: Final = "(none)"
"""Stands for the old value of an added field and the new value of a removed one; JSON null reads `null`."""

VALUE_LIMIT: Final = 512
"""Characters of one value or line that people are shown; whole values are in the ledger."""

ELLIPSIS: Final = "…"

# ECMA-48: control sequences, operating-system commands (ended by BEL or ST), and two-character escapes.
_ANSI: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\x9d]*(?:\x07|\x1b\\|\x9c)|\x1b[ -/]*[0-~]"
)
_LINE_ENDS: Final = re.compile(r"\r\n|[\n\r\v\f\x85\u2028\u2029]")
# What JSON would read as something else than a string, and what would look like nothing.
_AMBIGUOUS: Final = re.compile(
    r"|true|false|null|\(none\)|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|[\[{\"].*|\s.*|.*\s", re.DOTALL
)


def visible(text: str) -> str:
    """Return the text with every character that is not printable written as an escape."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else _escape(character) for character in text)


def _escape(character: str) -> str:
    code = f"{ord(character):04x}"
    return f"\\u{code}" if len(code) == 4 else f"\\U{code:>08}"  # noqa: PLR2004  as Python writes them


def one_line(text: str, limit: int = VALUE_LIMIT) -> str:
    """Return the text as one harmless line of at most `limit` characters, for titles, names and cells."""
    beginning = " ".join(_ANSI.sub("", text[: limit * 4]).split())
    return shorten(visible(beginning) + (ELLIPSIS if len(text) > limit * 4 else ""), limit)


def lines(text: str, limit: int = VALUE_LIMIT) -> list[str]:
    """Return the harmless lines of a paragraph; indentation is kept, empty lines at the end are not."""
    cleaned = _ANSI.sub("", text.expandtabs(4)).rstrip()
    return [shorten(visible(part.rstrip()), limit) for part in _LINE_ENDS.split(cleaned)]


def last_lines(text: str, count: int, limit: int = VALUE_LIMIT) -> tuple[list[str], int]:
    """Return the last harmless lines of a long text, such as a log, and how many there are before them.

    Costs little more than to look for the line ends, however long the text is.
    """
    every = _LINE_ENDS.split(text.rstrip())
    return lines("\n".join(every[-count:]), limit)[-count:], max(len(every) - count, 0)


def shorten(text: str, limit: int) -> str:
    """Return at most `limit` characters, ended by `…` where some were left out, and cut between words if possible.

    A combining mark is never separated from its base.
    """
    if len(text) <= limit:
        return text
    end = max(limit - len(ELLIPSIS), 0)
    space = text.rfind(" ", end - end // 4, end + 1)
    end = space if space > 0 else end
    while end > 0 and unicodedata.combining(text[end]):
        end -= 1
    return text[:end].rstrip() + ELLIPSIS[:limit]


def value(raw: Any, limit: int = VALUE_LIMIT) -> str:
    """Return a field's value as one line: a string as it is, all else as JSON.

    A string that could be taken for something else (`"3"`, `"null"`, an empty or padded one) is quoted, so that
    different values always read differently up to where they are shortened.
    """
    if raw is msgspec.UNSET:
        return ABSENT
    if isinstance(raw, str):
        raw = raw[: limit + 1]
        if raw.isprintable() and not _AMBIGUOUS.fullmatch(raw):
            return shorten(raw, limit)
    return shorten(visible(msgspec.json.encode(raw).decode()), limit)


def change(changed: FieldChange, limit: int = VALUE_LIMIT) -> str:
    """Return a field change as `path: old -> new`."""
    path = one_line(changed.path, limit)
    return f"{path}: {value(changed.old, limit)} -> {value(changed.new, limit)}"


def who(entry: Entry) -> str:
    """Return who asked for the change and with what, empty if nobody did (a watched Job has no user).

    Reads `alice with kubectl-edit`, or `system:serviceaccount:shop:bot from pod bot-1 on node n1`.
    """
    actor = entry.actor
    parts = [one_line(entry.user.username)]
    if entry.field_manager:
        parts.append(f"with {one_line(entry.field_manager)}")
    if actor.pod:
        parts.append(f"from pod {one_line(actor.pod)}")
    if actor.node:
        parts.append(f"on node {one_line(actor.node)}")
    return " ".join(parts).strip()


def what(entry: Entry) -> str:
    """Return what was done, where and when: `UPDATE Deployment/shop/web in prod at 2026-01-02T03:04:05Z`."""
    resource = entry.resource
    thing = f"{resource}/{resource.subresource}" if resource.subresource else str(resource)
    place = f" in {entry.cluster}" if entry.cluster else ""
    return one_line(f"{entry.operation} {thing}{place} at {second(entry.at)}")


def second(at: str) -> str:
    """Return a moment without its fraction, for people: `2026-01-02T03:04:05Z`."""
    return re.sub(r"\.\d+(?=Z$)", "", at)


def shown_blocks(notification: Notification) -> tuple[Block, ...]:
    """Return what there is to read: the finding's blocks, or the entry's field changes if it has none."""
    if notification.finding.blocks or not notification.entry.changes:
        return notification.finding.blocks
    return (DiffBlock(changes=notification.entry.changes),)


def plain_text(notification: Notification, size_limit: int) -> str:
    """Return the finding as lines of plain text, of at most `size_limit` bytes of UTF-8.

    The order is title, description, who, what, blocks; whole lines are left out from the end, and counted.
    """
    body = [text for block in shown_blocks(notification) for text in _block_lines(block)]
    return fit([*_head(notification.finding, notification.entry), *body], size_limit)


def _head(finding: Finding, entry: Entry) -> Iterator[str]:
    yield f"[{finding.severity}] {one_line(finding.title)}"
    if finding.description:
        yield from lines(finding.description)
    if (person := who(entry)) and person not in finding.description:
        yield f"By: {person}"
    yield f"What: {what(entry)}"


def _block_lines(block: Block) -> Iterator[str]:
    match block:
        case TextBlock(text=text):
            yield from lines(text)
        case TableBlock():
            yield from table_lines(block)
        case DiffBlock(changes=changes):
            yield from map(change, changes)
        case FileBlock(name=name, content=content):
            yield f"{one_line(name)}:"
            yield from lines(content)
        case JsonBlock(value=document):
            yield value(document)


def table_lines(table: TableBlock) -> Iterator[str]:
    """Yield the title, the headers and the rows of a table, cells separated by ` | `."""
    if table.title:
        yield one_line(table.title)
    for row in (table.headers, *table.rows):
        yield " | ".join(one_line(cell) for cell in row)


def fit(texts: Iterable[str], size_limit: int) -> str:
    """Join lines into at most `size_limit` bytes of UTF-8; says how many lines were left out, if there is room."""
    wanted = list(texts)
    if sum(map(_size, wanted)) <= size_limit + 1:
        return "\n".join(wanted)
    sizes = list(itertools.accumulate(map(_size, wanted), initial=_size(_left_out(wanted))))
    count = sum(size <= size_limit + 1 for size in sizes) - 1
    kept = wanted[:count] if count > 0 else [_cut(wanted[0], size_limit - sizes[0])]
    return _cut("\n".join([*kept, _left_out(wanted[len(kept) :])]), size_limit)


def _size(text: str) -> int:
    """Count the bytes of a line with its newline."""
    return len(text.encode()) + 1


def _left_out(texts: Sequence[str]) -> str:
    return f"{ELLIPSIS} {len(texts)} more line{'' if len(texts) == 1 else 's'}"


def _cut(text: str, size_limit: int) -> str:
    return text.encode()[: max(size_limit, 0)].decode(errors="ignore")
