"""Slack's Block Kit: text made harmless, and blocks within the limits of each.

Text from the cluster stands in plain text or in code spans, never in Slack's markup: `<`, `>` and `&` are escaped, so
that no mention and no link can be forged, and nothing is turned into links or emoji by itself.
https://docs.slack.dev/messaging/formatting-message-text, https://docs.slack.dev/reference/block-kit/blocks
"""

from __future__ import annotations

import bisect
import html
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from app.core import text as plain
from app.sinks._text import Line, Markup

TEXT_LIMIT: Final = 3000
"""Characters of a text object: https://docs.slack.dev/reference/block-kit/composition-objects/text-object"""

HEADER_LIMIT: Final = 150
"""Characters of a header: https://docs.slack.dev/reference/block-kit/blocks/header-block"""

BLOCKS_LIMIT: Final = 50
"""Blocks of a message: https://docs.slack.dev/reference/block-kit/blocks"""

MESSAGE_LIMIT: Final = 12_000
"""Bytes of all blocks as JSON. Undocumented: Slack answers `msg_blocks_too_long` to more than about 13,200 characters,
in which it counts more than the texts: https://github.com/slackapi/bolt-js/issues/2509 and 2867."""

PLAIN: Final = -1
"""The `block` of a line that is plain text."""

# Three of these, and what is between them, are less than a text object holds.
_CODE_LIMIT: Final = 900
_PRE_LIMIT: Final = TEXT_LIMIT - len("```\n\n```")
_CONTEXT_LIMIT: Final = 1500
# Looks like a backtick, and ends no code.
_BACKTICK: Final = "\u02cb"
_MARKUP_CHARACTERS: Final = re.compile(r"[*_~`<>&@#:|]")

Blocks = list[dict[str, Any]]


def units(text: str) -> int:
    """Return the length as JavaScript counts it, in UTF-16 code units, which is never less than the characters."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def escaped(text: str, limit: int = _CODE_LIMIT) -> str:
    """Return the text with Slack's control characters escaped, of at most `limit` units, cut between characters."""
    whole = html.escape(text, quote=False)
    if units(whole) <= limit:
        return whole
    sizes = list(itertools.accumulate(units(html.escape(each, quote=False)) for each in text[:limit]))
    return html.escape(text[: bisect.bisect_right(sizes, limit - 1)], quote=False) + plain.ELLIPSIS


def _code(text: str) -> str:
    return f"`{escaped(text.replace('`', _BACKTICK) or ' ')}`"


def _bold(text: str) -> str:
    return _code(text) if _MARKUP_CHARACTERS.search(text) else f"*{escaped(text)}*"


def _pre(lines: Sequence[str]) -> str:
    return "```\n" + "\n".join(lines) + "\n```"


def _link(url: str, words: str) -> str:
    target = html.escape(url, quote=False).replace("|", "%7C").replace(" ", "%20")
    return f"<{target}|{escaped(words)}>"


MRKDWN: Final = Markup(text=escaped, bold=_bold, code=_code, pre=_pre, link=_link)
"""Slack's own markup."""

TEXT: Final = Markup(
    text=escaped,
    bold=escaped,
    code=escaped,
    pre=lambda lines: "\n".join(map(escaped, lines)),
    link=lambda url, words: f"{words}: {html.escape(url, quote=False)}",
)
"""A message's `text`, which devices show as a notification, and screen readers read."""


def header(text: str) -> dict[str, Any]:
    """Return a header; what is too long is cut."""
    return {"type": "header", "text": _plain_text(escaped(text, HEADER_LIMIT))}


def context(*texts: str, moment: str = "") -> dict[str, Any]:
    """Return small print of plain text, and a moment (RFC 3339) that Slack shows in the reader's time zone."""
    elements = [_plain_text(escaped(text, _CONTEXT_LIMIT)) for text in texts]
    return {"type": "context", "elements": [*elements, *([_mrkdwn(date(moment))] if moment else [])]}


def date(moment: str) -> str:
    """Return markup for a moment.

    https://docs.slack.dev/messaging/formatting-message-text#date-formatting
    """
    try:
        seconds = int(datetime.fromisoformat(moment).timestamp())
    except ValueError:
        return _code(moment)
    return f"<!date^{seconds}^{{date_short_pretty}} {{time_secs}}|{escaped(moment)}>"


def small_print(text: str) -> dict[str, Any]:
    """Return small print of ready markup."""
    return {"type": "context", "elements": [_mrkdwn(text)]}


def _plain_text(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def sections(lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
    """Yield sections with all of the lines, each within the limit of a text object."""
    for is_plain, group in itertools.groupby(lines, key=lambda line: line.block == PLAIN):
        alike = list(group)
        texts = (escaped(line.text) for line in alike) if is_plain else _units(alike)
        for packed in _packed(texts, TEXT_LIMIT):
            text = "\n".join(packed)
            yield {"type": "section", "text": _plain_text(text) if is_plain else _mrkdwn(text)}


def _units(lines: Iterable[Line]) -> Iterator[str]:
    """Yield what must not be parted: lines of markup, and preformatted blocks that fit into a section."""
    for number, group in itertools.groupby(lines, key=lambda line: line.block):
        texts = (line.text for line in group)
        yield from (_pre(packed) for packed in _packed(map(_harmless, texts), _PRE_LIMIT)) if number else texts


def _harmless(text: str) -> str:
    return escaped(text.replace("```", _BACKTICK * 3), _PRE_LIMIT)


def _packed(texts: Iterable[str], limit: int) -> Iterator[list[str]]:
    packed: list[str] = []
    size = 0
    for text in texts:
        size += units(text) + 1
        if packed and size > limit + 1:
            yield packed
            packed, size = [], units(text) + 1
        packed.append(text)
    if packed:
        yield packed


def fits(blocks: Blocks, limit: int = MESSAGE_LIMIT) -> bool:
    """Say whether Slack takes the blocks as one message."""
    return len(blocks) <= BLOCKS_LIMIT and len(msgspec.json.encode(blocks)) <= limit
