"""How entries spread over time."""

from __future__ import annotations

import bisect
from typing import Final

import msgspec

from app.core.identity import first_sequence_at

_SECOND: Final = 1000
_HOUR: Final = 3600 * _SECOND
_DAY: Final = 24 * _HOUR
_WIDTHS: Final = (
    *(number * _SECOND for number in (1, 2, 5, 10, 15, 30)),
    *(number * 60 * _SECOND for number in (1, 2, 5, 10, 15, 30)),
    *(number * _HOUR for number in (1, 2, 3, 6, 12)),
    *(number * _DAY for number in (1, 2, 7, 14, 28)),
)
"""Milliseconds that people think in; all but the last begin with an hour's or a day's begin (UTC)."""


class Bucket(msgspec.Struct, frozen=True):
    """The entries of a span: when it begins (unix milliseconds), how many, and how many of them of failed Jobs."""

    at: int
    total: int
    failed: int


class Spans:
    """The spans of a histogram: at most so many, equally wide by a width that people think in."""

    def __init__(self, since: int, until: int, most: int) -> None:
        self.since, self.until = since, until
        self.width = _width(since, until, most)
        self.starts = list(range(since - since % self.width, until, self.width))

    @property
    def edges(self) -> list[int]:
        """The sequence numbers at which the spans begin, and the one at which the last ends."""
        inner = self.starts[1:]
        return [first_sequence_at(each) for each in (self.since, *inner, self.until)]

    def place(self, seq: int) -> int:
        """Return in which of the spans an entry is."""
        return bisect.bisect_right(self.starts, seq // first_sequence_at(1)) - 1


def _width(since: int, until: int, most: int) -> int:
    """Return the least width by which the time is covered; beyond the longest, a multiple of it."""
    for width in _WIDTHS:
        if _number(since, until, width) <= most:
            return width
    width = _WIDTHS[-1]
    while _number(since, until, width) > most:
        width += _WIDTHS[-1]
    return width


def _number(since: int, until: int, width: int) -> int:
    return -(-(until - since + since % width) // width)
