"""Messages for Slack: a title, who and what, and in the severity's colour the details, with what is left out."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, Final, NamedTuple

from app.core import text as plain
from app.core.finding import Block, DiffBlock, JsonBlock, Notification, TableBlock, TextBlock
from app.sinks import _text
from app.sinks._slack_blocks import (
    HEADER_LIMIT,
    MRKDWN,
    PLAIN,
    TEXT,
    Blocks,
    context,
    escaped,
    fits,
    header,
    sections,
    small_print,
    units,
)
from app.sinks._slack_files import FIELDS_SHOWN, JSON_LINES, File, files, json_lines
from app.sinks._text import COLOURS, MARKS, VALUE_LIMIT, Line
from app.sinks.base import Summary

WHOLE_TEXT_LIMIT: Final = 4000
"""Characters of a message without blocks, as Slack recommends:
https://docs.slack.dev/reference/methods/chat.postMessage#truncating-content"""

# More lines than a message can hold: what comes after them is only counted.
_MOST_LINES: Final = 700
_SUMMARY_ROWS: Final = 20

Body = dict[str, Any]
"""`text`, `blocks` and `attachments`, as the Web API and incoming webhooks take them."""


class Draft(NamedTuple):
    """A message, the files beside it, and whether all lines of the finding have room in the message."""

    body: Body
    files: tuple[File, ...]
    is_whole: bool


def draft(notification: Notification, file_limit: int = 0, note: str = "") -> Draft:
    """Return the message, and with a `file_limit` in bytes the files with what it has no room for.

    `note` is told to people at the end of the message; it is markup.
    """
    alone = _fitted(notification, note, short=False)
    attached = files(notification, file_limit, crowded=not alone.is_whole) if file_limit else ()
    if not attached:
        return alone
    names = ", ".join(MRKDWN.code(file.name) for file in attached)
    return _fitted(notification, f"In the thread: {names}", short=True)._replace(files=attached)


def plain_body(notification: Notification) -> Body:
    """Return the message as text alone, for where the blocks are refused."""
    return {"text": _text.message(notification, TEXT, WHOLE_TEXT_LIMIT, units), "mrkdwn": False}


def _fitted(notification: Notification, note: str, *, short: bool) -> Draft:
    kept, beyond = _lines(notification, short=short)
    text = "\n".join([escaped(_text.title(notification)), *map(escaped, _text.head(notification)[:5])])
    return _fit(notification, text, _top(notification), kept, beyond, note)


def _fit(
    notification: Notification, text: str, top: Blocks, lines: list[Line], beyond: dict[str, int], note: str = ""
) -> Draft:
    """Return the message with as many lines as have room; whole lines are left out from the end, and counted."""

    def details(count: int) -> Blocks:
        left_out = _sum(beyond, _text.count_lines(lines[count:]))
        return [*sections(lines[:count]), *_end(left_out, notification.link, note)]

    count = len(lines)
    if not fits([*top, *details(count)]):
        count = bisect.bisect_left(range(1, count), x=True, key=lambda count: not fits([*top, *details(count)]))
    colour = COLOURS[notification.finding.severity]
    attachments = [{"color": colour, "blocks": blocks}] if (blocks := details(count)) else []
    body = {"text": text, "blocks": top, "attachments": attachments}
    return Draft(body, (), is_whole=count == len(lines) and not beyond)


def _top(notification: Notification) -> Blocks:
    """Return the title, and in small print who did what, unless the description says so, and when."""
    finding, entry, folded = notification.finding, notification.entry, notification.folded
    person = plain.who(entry)
    small = [
        *([f"By {plain.shorten(person, VALUE_LIMIT)}"] if person and person not in finding.description else []),
        plain.shorten(plain.what(entry).removesuffix(f" at {plain.second(entry.at)}"), VALUE_LIMIT),
        *([f"{folded.count} of these since {plain.second(folded.since)}, told as one."] if folded else []),
    ]
    return [header(_text.title(notification)), context(*small, moment=entry.at)]


def _end(left_out: dict[str, int], link: str, note: str) -> Blocks:
    texts = [*_text.footer(left_out, link, MRKDWN), *([note] if note else [])]
    return [small_print("  ·  ".join(texts))] if texts else []


def _lines(notification: Notification, *, short: bool) -> tuple[list[Line], dict[str, int]]:
    """Return the lines that may have room, and how many there are beyond; `short` where files have all of them."""
    kept, beyond = list(_opening(notification)), dict[str, int]()
    for number, block in enumerate(plain.shown_blocks(notification), 1):
        every = _block_lines(block, number)
        most = _SHORT.get(type(block), _MOST_LINES) if short else _MOST_LINES
        kept += itertools.islice(every, most)
        beyond = _sum(beyond, _text.count_lines(every))
    return kept, beyond


_SHORT: Final = {DiffBlock: FIELDS_SHOWN, JsonBlock: JSON_LINES}


def _opening(notification: Notification) -> Iterator[Line]:
    """Yield the title, if the header has no room for it, and the description."""
    title = _text.title(notification)
    if units(escaped(title, HEADER_LIMIT * 10)) > HEADER_LIMIT:
        yield Line(title, PLAIN)
    yield from (Line(line, PLAIN) for line in plain.lines(notification.finding.description, VALUE_LIMIT) if line)


def _block_lines(block: Block, number: int) -> Iterator[Line]:
    match block:
        case TextBlock(text=text):
            yield from (Line(line, PLAIN) for line in plain.lines(text, VALUE_LIMIT) if line)
        case JsonBlock(value=value):
            yield from (Line(plain.shorten(line, VALUE_LIMIT), number) for line in json_lines(value))
        case _:
            yield from _text.block_lines(block, number, MRKDWN)


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {word: one.get(word, 0) + other.get(word, 0) for word in {**one, **other}}


def summary_body(summary: Summary) -> Body:
    """Return the message that stands for a group: what its notifications have in common, and a table of them."""
    last = summary.last
    title = f"{MARKS[last.finding.severity]} {summary.total} finding{'' if summary.total == 1 else 's'}"
    group = [plain.one_line(f"{name}: {value}", VALUE_LIMIT) for name, value in summary.group]
    since = f"Since {summary.since:%Y-%m-%d %H:%M} UTC, for {_words(summary.interval)}"
    rows = [Line(plain.shorten(row, VALUE_LIMIT), 1, "row") for row in _text.table_rows(_table(summary))]
    latest = Line(f"The last one: {plain.one_line(last.finding.title, VALUE_LIMIT)}", PLAIN)
    beyond = _text.count_lines(rows[_SUMMARY_ROWS + 1 :])
    text = "\n".join(escaped(line) for line in [title, *group, since])
    top = [header(", ".join([title, *group[:1]])), context(*group[1:9], since)]
    return _fit(last, text, top, [latest, *rows[: _SUMMARY_ROWS + 1]], beyond).body


def _table(summary: Summary) -> TableBlock:
    rows = tuple((str(count), *cells) for cells, count in summary.rows)
    return TableBlock(headers=("count", *summary.headers), rows=rows)


def _words(interval: timedelta) -> str:
    seconds = round(interval.total_seconds())
    for size, word in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds and seconds % size == 0:
            return f"{seconds // size} {word}{'' if seconds == size else 's'}"
    return f"{seconds} seconds"
