"""Cards: what a notification says as parts, for receivers that take elements instead of text.

The order is that of a message: description, who, what, field changes, tables, files. All texts are one harmless line
of plain text each; what the receiver would take for markup is the receiver's affair.
"""

from __future__ import annotations

import bisect
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

from app.core import text as plain
from app.core.finding import Block, DiffBlock, FileBlock, JsonBlock, Notification, TableBlock, TextBlock
from app.sinks._text import FILE_LINES, PLAIN, VALUE_LIMIT, footer, head

T = TypeVar("T")

MOST_PARTS: Final = 600
"""More than any card takes: what comes after them is only counted."""

MOST_COLUMNS: Final = 6
"""A wider table is no longer a table on a telephone; its last column says how many columns are left out."""


class Part(NamedTuple):
    """A line of a card. `texts` are one text, path, old and new of a field, or the cells of a row.

    Rows of a table, and lines of a file, have their block's number. `counts` is what it is called when left out.
    """

    kind: Literal["text", "heading", "change", "header", "row", "code"]
    texts: tuple[str, ...]
    block: int = 0
    counts: str = "line"


def parts(notification: Notification) -> Iterator[Part]:
    """Yield what there is to say beneath the title."""
    yield from (Part("text", (line,)) for line in head(notification))
    for number, block in enumerate(plain.shown_blocks(notification), 1):
        yield from _block_parts(block, number)


def _block_parts(block: Block, number: int) -> Iterator[Part]:
    match block:
        case TextBlock(text=text):
            yield from (Part("text", (line,)) for line in plain.lines(text, VALUE_LIMIT) if line)
        case DiffBlock(changes=changes):
            for each in changes:
                old, new = plain.value(each.old, VALUE_LIMIT), plain.value(each.new, VALUE_LIMIT)
                yield Part("change", (plain.one_line(each.path, VALUE_LIMIT), old, new), counts="field")
        case TableBlock():
            yield from _table_parts(block, number)
        case FileBlock(name=name, content=content):
            last, before = plain.last_lines(content, FILE_LINES, VALUE_LIMIT)
            earlier = f" ({before} earlier lines)" if before else ""
            yield Part("heading", (plain.one_line(name, VALUE_LIMIT) + earlier,))
            yield from (Part("code", (line,), number) for line in last)
        case JsonBlock(value=document):
            yield Part("code", (plain.value(document, VALUE_LIMIT),), number)


def _table_parts(table: TableBlock, number: int) -> Iterator[Part]:
    if table.title:
        yield Part("heading", (plain.one_line(table.title, VALUE_LIMIT),))
    yield Part("header", _cells(table.headers), number)
    yield from (Part("row", _cells(row), number, "row") for row in table.rows)


def _cells(row: Sequence[str]) -> tuple[str, ...]:
    cells = tuple(plain.one_line(cell, VALUE_LIMIT) for cell in row[:MOST_COLUMNS])
    beyond = len(row) - MOST_COLUMNS
    return (*cells[:-1], f"{cells[-1]} {plain.ELLIPSIS} {beyond} more") if beyond > 0 else cells


def fitted(
    notification: Notification, card: Callable[[Sequence[Part], str], T], limit: int, measure: Callable[[T], int]
) -> T:
    """Return the card of as many parts as fit; `card` gets these, and a line that says what is left out, or nothing.

    A card that is too large even without parts is returned as it is.
    """
    every = parts(notification)
    kept = list(itertools.islice(every, MOST_PARTS))
    beyond = Counter(part.counts for part in every)

    def made(count: int) -> T:
        left_out = Counter(part.counts for part in kept[count:]) + beyond
        return card(kept[:count], "".join(footer(left_out, "", PLAIN)))

    whole = made(len(kept))
    if measure(whole) <= limit:
        return whole
    return made(max(bisect.bisect_right(range(len(kept)), limit, key=lambda count: measure(made(count))) - 1, 0))
