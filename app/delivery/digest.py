"""Many deliveries as one notification: what there was, how often, and the newest by title. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from app.core.delivery import Claimed
from app.core.finding import Finding, Folded, Notification, Severity, TableBlock, TextBlock
from app.core.grouping import Attribute
from app.core.text import one_line
from app.delivery.grouping import counted_rows, headings, values

_NEWEST: Final = 10
_CELL: Final = 120
_SEVERITIES: Final = tuple(Severity)


def digest(claimed: Claimed, about: str, by: Sequence[Attribute]) -> Notification:
    """Return the deliveries as one: a table of their attributes `by`, and the newest titles.

    Link and entry are those of the last one, the severity is that of the most severe. `about` says what they have in
    common.
    """
    last, every = claimed.notification, [each.notification for each in claimed.every]
    finding = Finding(
        playbook=last.finding.playbook,
        title=f"{len(every)} notifications: {one_line(about, _CELL)}",
        description="By whom and what, as far as it is said here, is of the last one.",
        severity=max((each.finding.severity for each in every), key=_SEVERITIES.index),
        aggregation_key=last.finding.aggregation_key,
        blocks=(_table(every, by), TextBlock(text=_newest(every))),
        sinks=last.finding.sinks,
        annotations=last.finding.annotations,
    )
    folded = Folded(count=len(every), since=every[0].entry.at)
    return msgspec.structs.replace(last, finding=finding, folded=folded)


def bundle(every: Sequence[Claimed]) -> Claimed:
    """Return deliveries, oldest first, as the last of them with all others."""
    flat = [part for each in every for part in each.every]
    alone = [msgspec.structs.replace(part, others=()) for part in flat]
    return msgspec.structs.replace(alone[-1], others=tuple(alone[:-1]))


def _table(every: Sequence[Notification], by: Sequence[Attribute]) -> TableBlock:
    rows: tuple[tuple[tuple[str, ...], int], ...] = ()
    for each in every:
        rows = counted_rows(rows, values(each, by), 1)
    most_first = sorted(rows, key=lambda row: -row[1])
    return TableBlock(
        headers=("count", *headings(by)),
        rows=tuple((str(count), *(one_line(cell, _CELL) for cell in row)) for row, count in most_first),
    )


def _newest(every: Sequence[Notification]) -> str:
    titles = [f"{each.entry.at} {one_line(each.finding.title)}" for each in reversed(every[-_NEWEST:])]
    return "\n".join(["The newest:" if len(every) > _NEWEST else "All, newest first:", *titles])
