"""Markdown in its dialects: texts of strangers that read as they are, and do nothing.

Receivers differ in what a backslash can escape, and none can escape a mention everywhere. So mentions, links and emoji
names are broken by a zero-width space, which people do not see; and a backtick in code becomes a look-alike,
since no two receivers end a code span alike. The whole and exact text is in the ledger.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from app.sinks._text import Markup

ZERO_WIDTH: Final = "\u200b"

BACKTICK: Final = "\u02cb"
"""MODIFIER LETTER GRAVE ACCENT, which looks like a backtick and is none."""

_LIVE: Final = re.compile(
    r"(?<=@)(?=\S)"  # @channel
    r"|(?<=[#~!])(?=[\w*<@])"  # #channel, ~channel, !channel
    r"|(?<=<)(?=\S)"  # <@1>, <!here>, <https://...>, <b>
    r"|(?<=:)(?=//)"  # https://
    r"|(?<=:)(?<!\d:)(?=[\w+-]+:)"  # :emoji:, but not 12:30:00
    r"|(?<=\bwww)(?=\.)"
    r"|(?<=\bmailto)(?=:)"
    r"|(?<=&)(?=[#\w]+;)",  # &amp;
    re.IGNORECASE,
)
_MARKS: Final = str.maketrans(
    {
        "*": "\u2217",
        "_": "\u02cd",
        "~": "\u223c",
        "`": BACKTICK,
        "[": "\uff3b",
        "]": "\uff3d",
        "\\": "\u2216",
        "$": "\uff04",
    }
)
_BLOCK: Final = re.compile(r"^(\s*)([-+>#|=]+|\d+[.)])(?=\s|$)")


def inert(text: str) -> str:
    """Return the text with a zero-width space in everything that would be a mention, a link, a tag or an emoji."""
    return _LIVE.sub(ZERO_WIDTH, text)


def lookalike(text: str) -> str:
    """Return a line with look-alikes for all that is markup, for receivers that know no escapes."""
    return _plain_start(inert(text)).translate(_MARKS)


def escaping(marks: str) -> Callable[[str], str]:
    """Return a function that makes lines harmless for a receiver where a backslash escapes these characters."""
    pattern = re.compile(f"[{re.escape(marks)}]")
    return lambda text: pattern.sub(r"\\\g<0>", _plain_start(inert(text)))


def _plain_start(text: str) -> str:
    """Return a line that begins no list, heading, quotation or rule."""
    return _BLOCK.sub(rf"\1{ZERO_WIDTH}\2", text)


def code(text: str) -> str:
    """Return a code span, in which nothing is markup."""
    return f"`{text.replace('`', BACKTICK) or ' '}`"


def fence(lines: Sequence[str]) -> str:
    """Return a fenced block of code."""
    return "\n".join(("```", *(line.replace("`", BACKTICK) for line in lines), "```"))


def quiet_code(text: str) -> str:
    """Return a code span for receivers that look for mentions in code too."""
    return code(inert(text))


def quiet_fence(lines: Sequence[str]) -> str:
    """Return a fenced block for receivers that look for mentions in code too."""
    return fence([inert(line) for line in lines])


def link(url: str, words: str) -> str:
    """Return a link; what would end its URL is percent-encoded."""
    safe = url.replace("(", "%28").replace(")", "%29").replace(" ", "%20").replace("<", "%3C").replace(">", "%3E")
    return f"[{words}]({safe})"


def markup(text: Callable[[str], str], *, quiet: bool = False, strong: str = "**") -> Markup:
    """Return the markup of a receiver: `text` makes prose harmless, `quiet` code too."""
    return Markup(
        text=text,
        bold=lambda words: f"{strong}{text(words)}{strong}",
        code=quiet_code if quiet else code,
        pre=quiet_fence if quiet else fence,
        link=link,
    )
