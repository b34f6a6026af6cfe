r"""Cells of a CSV file (RFC 4180) that a spreadsheet shows and never calculates.

Names and values come from strangers. A spreadsheet takes a cell that begins with `=`, `+`, `-`, `@`, or a form of these
that it reads alike, for a formula, which can send the sheet elsewhere or start a program; quotes around it change
nothing of that (https://owasp.org/www-community/attacks/CSV_Injection). Such a text gets `'` put before it, and so does
what follows a semicolon, which is the end of a cell for a spreadsheet whose commas are for decimals. What cannot be
seen is written as an escape such as `\u202e`, line breaks among it: a row is a line, to every program.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from app.core import text as plain

BEGIN: Final = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8. Excel reads a file without one in the code page of its country; others skip it."""

LONGEST: Final = 32_000
"""Characters of a cell: what is longer than 32,767 Excel continues in cells and rows of its own, unquoted."""

LINE_END: Final = "\r\n"

_SIGN: Final = "[\\s\"'`]*[=+\\-@\uff1d\uff0b\uff0d\uff20\ufe66\ufe62\ufe63\ufe6b\u2212]"
_FORMULA: Final = re.compile(_SIGN)
_INNER: Final = re.compile(f";(?={_SIGN})")
_NUMBER: Final = re.compile(r"-?\d{1,15}|-?(?=[\d.]{3,16}\Z)\d+\.\d+")
"""What a spreadsheet keeps to the last digit: it calculates with fifteen."""


def line(cells: Iterable[str]) -> str:
    """Return a row of cells that are written already."""
    return ",".join(cells) + LINE_END


def word(text: str) -> str:
    """Return the cell of a text; an empty one is an empty cell."""
    return _quoted(plain.shorten(plain.visible(text[: LONGEST + 1]), LONGEST)) if text else ""


def number(count: int) -> str:
    """Return the cell of a count."""
    return str(count)


def value(raw: Any) -> str:
    """Return the cell of a field's value: a number as one, a string as it is, all else as JSON; absent is empty.

    Strings that could be taken for something else, such as the label `1.10`, are in the quotes of JSON, and so are
    those of several lines. Numbers that a spreadsheet would round are texts.
    """
    if raw is msgspec.UNSET:
        return ""
    shown = plain.value(raw, LONGEST)
    if isinstance(raw, int | float) and _NUMBER.fullmatch(shown):
        return shown
    return _quoted(shown)


def _quoted(text: str) -> str:
    guard = "'" if _FORMULA.match(text) else ""
    guarded = guard + _INNER.sub(";'", text)
    return f'"{guarded.replace(chr(34), chr(34) * 2)}"'
