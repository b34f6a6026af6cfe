"""The histogram as a drawing: bars that are links to their time, in units that need no style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from app.web.ui.data import Bar
from app.web.ui.filters import Filters

HEIGHT: Final = 100
_WIDTH: Final = 10
"""Units of the drawing for a bar and the space beside it; how large a unit is, the page's width decides."""

_LEAST: Final = 3
"""Height of the smallest bar: one change among thousands is to be seen."""


class Column(msgspec.Struct, frozen=True, kw_only=True):
    """A bar as it is drawn: `y` counts from the top, `failed` is the height of the part of failed Jobs."""

    x: int
    y: int
    height: int
    failed: int
    address: str
    bar: Bar


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """The drawing, and what it says to those who do not see it."""

    columns: tuple[Column, ...]
    width: int
    total: int
    failed: int
    busiest: Bar
    since: str
    until: str


def chart(bars: Sequence[Bar], filters: Filters) -> Chart | None:
    """Return the drawing of a histogram; None where there is nothing to draw."""
    if not bars or not any(bar.total for bar in bars):
        return None
    highest = max(bar.total for bar in bars)
    return Chart(
        columns=tuple(_column(index, bar, highest, filters) for index, bar in enumerate(bars)),
        width=len(bars) * _WIDTH,
        total=sum(bar.total for bar in bars),
        failed=sum(bar.failed for bar in bars),
        busiest=max(bars, key=lambda bar: bar.total),
        since=bars[0].since,
        until=bars[-1].until,
    )


def _column(index: int, bar: Bar, highest: int, filters: Filters) -> Column:
    height = _scaled(bar.total, highest)
    return Column(
        x=index * _WIDTH,
        y=HEIGHT - height,
        height=height,
        failed=min(_scaled(bar.failed, highest), height),
        address=filters.address(since=bar.since, until=bar.until),
        bar=bar,
    )


def _scaled(count: int, highest: int) -> int:
    return max(_LEAST, round(count / highest * HEIGHT)) if count else 0
