"""Messages for people: one layout for every receiver, in the receiver's own markup and within its limits.

A message is title, description, who, what, field changes, tables and files, in this order, line by line. What does not
fit is left out from the end, whole lines at a time, and the last line says how much that was and where all of it is.
Every text goes through the receiver's `Markup`, since names and values come from strangers.
"""

from __future__ import annotations

import bisect
import html
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from app.core import text as plain
from app.core.finding import Block, DiffBlock, FileBlock, JsonBlock, Notification, Severity, TableBlock, TextBlock

MARKS: Final = {
    Severity.DEBUG: "⚪",
    Severity.INFO: "🔵",
    Severity.LOW: "🟢",
    Severity.MEDIUM: "🟡",
    Severity.HIGH: "🔴",
}
COLOURS: Final = {
    Severity.DEBUG: "#9e9e9e",
    Severity.INFO: "#2f80ed",
    Severity.LOW: "#27ae60",
    Severity.MEDIUM: "#f2c94c",
    Severity.HIGH: "#eb5757",
}
VALUE_LIMIT: Final = 300
"""Characters of one value, name or line in a message."""

FILE_LINES: Final = 20
"""Lines of a file, such as a log, in a message; the whole is in the ledger."""

# More lines than any receiver takes: what comes after them is only counted.
_MOST_LINES: Final = 4000


class Markup(NamedTuple):
    """How a receiver writes text. All functions take any text, however hostile, and make it harmless.

    `pre` gets whole lines and returns a preformatted block of them; `link` gets a URL that the operator configured,
    and the words for it.
    """

    text: Callable[[str], str]
    bold: Callable[[str], str]
    code: Callable[[str], str]
    pre: Callable[[Sequence[str]], str]
    link: Callable[[str, str], str]


PLAIN: Final = Markup(
    text=lambda text: text,
    bold=lambda text: text,
    code=lambda text: text,
    pre="\n".join,
    link=lambda url, words: f"{words}: {url}",
)

HTML: Final = Markup(
    text=html.escape,
    bold=lambda text: f"<b>{html.escape(text)}</b>",
    code=lambda text: f"<code>{html.escape(text)}</code>",
    pre=lambda lines: f"<pre>{html.escape(chr(10).join(lines))}</pre>",
    link=lambda url, words: f'<a href="{html.escape(url)}">{html.escape(words)}</a>',
)


class Line(NamedTuple):
    """A line of a message: ready markup, or a line of the preformatted block with this number.

    `counts` is what it is called when it is left out: `field`, `row` or `line`.
    """

    text: str
    block: int = 0
    counts: str = "line"


def title(notification: Notification) -> str:
    """Return the title with the severity's mark, as one harmless line."""
    finding = notification.finding
    return f"{MARKS[finding.severity]} {plain.one_line(finding.title, VALUE_LIMIT)}"


def head(notification: Notification) -> list[str]:
    """Return description, who (if it does not say so), what and how often, as harmless lines of plain text."""
    finding, entry, folded = notification.finding, notification.entry, notification.folded
    person = plain.who(entry)
    return [
        *(line for line in plain.lines(finding.description, VALUE_LIMIT) if line),
        *([f"By: {plain.shorten(person, VALUE_LIMIT)}"] if person and person not in finding.description else []),
        f"What: {plain.shorten(plain.what(entry), VALUE_LIMIT)}",
        *([f"{folded.count} of these since {plain.second(folded.since)}, told as one."] if folded else []),
    ]


def change_line(path: str, old: str, new: str, markup: Markup) -> str:
    """Return a field change as one line of markup."""
    return f"• {markup.code(path)}: {markup.code(old)} → {markup.code(new)}"


def lines(notification: Notification, markup: Markup) -> Iterator[Line]:
    """Yield the whole message, title first."""
    yield Line(markup.bold(title(notification)))
    yield from (Line(markup.text(text)) for text in head(notification))
    for number, block in enumerate(plain.shown_blocks(notification), 1):
        yield from block_lines(block, number, markup)


def block_lines(block: Block, number: int, markup: Markup) -> Iterator[Line]:
    """Yield the lines of a block; `number` tells its preformatted lines from those of other blocks."""
    match block:
        case TextBlock(text=text):
            yield from (Line(markup.text(line)) for line in plain.lines(text, VALUE_LIMIT) if line)
        case DiffBlock(changes=changes):
            for each in changes:
                old, new = plain.value(each.old, VALUE_LIMIT), plain.value(each.new, VALUE_LIMIT)
                yield Line(change_line(plain.one_line(each.path, VALUE_LIMIT), old, new, markup), counts="field")
        case TableBlock():
            if block.title:
                yield Line(markup.bold(plain.one_line(block.title, VALUE_LIMIT)))
            yield from (Line(row, number, "row") for row in table_rows(block))
        case FileBlock(name=name, content=content):
            # The end of a log says most.
            last, before = plain.last_lines(content, FILE_LINES, VALUE_LIMIT)
            earlier = f" ({before} earlier lines)" if before else ""
            yield Line(markup.bold(plain.one_line(name, VALUE_LIMIT) + earlier))
            yield from (Line(line, number) for line in last)
        case JsonBlock(value=document):
            yield Line(plain.value(document, VALUE_LIMIT), number)


def table_rows(table: TableBlock) -> Iterator[str]:
    """Yield headers and rows of a table as lines of plain text with aligned columns."""
    cells = [[plain.one_line(cell, VALUE_LIMIT) for cell in row] for row in (table.headers, *table.rows[:_MOST_LINES])]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*cells, fillvalue="")]
    for row in cells:
        yield "  ".join(cell.ljust(min(width, 40)) for cell, width in zip(row, widths, strict=False)).rstrip()


def message(
    notification: Notification,
    markup: Markup,
    limit: int,
    measure: Callable[[str], int] = len,
    newline: str = "\n",
    *,
    titled: bool = True,
) -> str:
    """Return the message in the receiver's markup, of at most `limit` by `measure`; by default in characters.

    Without `titled` it begins beneath the title, for receivers that show a title of their own. A limit that is too
    small even for the first line cuts nothing: that line is always there.
    """
    every = itertools.islice(lines(notification, markup), 0 if titled else 1, None)
    kept = list(itertools.islice(every, _MOST_LINES))
    return fitted(kept, limit, measure, notification.link, markup, newline, beyond=count_lines(every))


def fitted(
    kept: Sequence[Line],
    limit: int,
    measure: Callable[[str], int],
    link: str,
    markup: Markup,
    newline: str = "\n",
    beyond: dict[str, int] | None = None,
) -> str:
    """Join as many of the lines as fit, and say how many are left out; the link is always there."""

    def joined(count: int) -> str:
        left_out = _sum(count_lines(kept[count:]), beyond or {})
        return newline.join([*_blocks(kept[:count], markup), *footer(left_out, link, markup)])

    if not beyond and measure(whole := joined(len(kept))) <= limit:
        return whole
    count = bisect.bisect_right(range(1, len(kept)), limit, key=lambda count: measure(joined(count)))
    return joined(max(count, 1))


def footer(left_out: dict[str, int], link: str, markup: Markup) -> list[str]:
    """Return the lines that end a message: what is missing, and where the whole is."""
    counted = ", ".join(f"{count} more {word}{'' if count == 1 else 's'}" for word, count in left_out.items() if count)
    return [
        *([markup.text(f"{plain.ELLIPSIS} {counted}")] if counted else []),
        *([markup.link(link, "Open the entry")] if link else []),
    ]


def _blocks(kept: Sequence[Line], markup: Markup) -> Iterator[str]:
    for number, group in itertools.groupby(kept, key=lambda line: line.block):
        texts = [line.text for line in group]
        yield from [markup.pre(texts)] if number else texts


def count_lines(lines: Iterator[Line] | Sequence[Line]) -> dict[str, int]:
    """Return how many lines there are of each sort, by what they are called."""
    counts: dict[str, int] = {}
    for line in lines:
        counts[line.counts] = counts.get(line.counts, 0) + 1
    return counts


def _sum(one: dict[str, int], other: dict[str, int]) -> dict[str, int]:
    return {
        word: one.get(word, 0) + other.get(word, 0) for word in (*one, *(word for word in other if word not in one))
    }


def whole_text(notification: Notification) -> str:
    """Return everything that the notification says as plain text, for a file beside the message."""
    return plain.plain_text(notification, 8 * 1024 * 1024) + "\n"
