"""Spans of time as people say them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

_UNITS: Final = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def elapsed(span: timedelta) -> str:
    """Return the span, whatever its sign, in its largest unit of which there are two: `90 seconds`, `12 minutes`."""
    seconds = int(abs(span).total_seconds())
    size, unit = next((each for each in _UNITS if seconds >= 2 * each[0]), _UNITS[-1])
    count = seconds // size
    return f"{count} {unit}{'' if count == 1 else 's'}"


def relative(moment: datetime, to: datetime) -> str:
    """Return `12 minutes before`, `3 seconds after` or `at that time`."""
    span = moment - to
    if abs(span) < timedelta(seconds=1):
        return "at that time"
    return f"{elapsed(span)} {'after' if span > timedelta() else 'before'}"


def precise(span: timedelta) -> str:
    """Return the span to the second, as kubectl writes it: `6m10s`, `2d3h0m5s`; nothing is shorter than `0s`."""
    seconds = max(int(span.total_seconds()), 0)
    counts: list[str] = []
    for size, unit in _UNITS:
        count, seconds = divmod(seconds, size)
        if count or counts or size == 1:
            counts.append(f"{count}{unit[0]}")
    return "".join(counts)


def written(moment: datetime | None) -> str:
    """Return RFC 3339 to the second, as Kubernetes writes times; empty for no time."""
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z") if moment else ""
