"""Times as a terminal shows them: in the local zone, and how long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

from typing_extensions import override

_UNITS: Final = ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h"))
_SOON: Final = timedelta(hours=6)
"""So long a change is known by its age, also after midnight."""

_WEEK: Final = 7
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class _Local(tzinfo):
    """The zone of this machine, or of TZ, with the offset of each moment rather than of now."""

    @override
    def utcoffset(self, moment: datetime | None, /) -> timedelta | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().utcoffset()

    @override
    def dst(self, moment: datetime | None, /) -> timedelta | None:
        return None

    @override
    def tzname(self, moment: datetime | None, /) -> str | None:
        return None if moment is None else moment.replace(tzinfo=None).astimezone().tzname()

    @override
    def fromutc(self, moment: datetime, /) -> datetime:
        here = moment.replace(tzinfo=UTC).astimezone()
        first = here.replace(tzinfo=self)
        # Of two times that look the same, where clocks are put back, the second has a fold.
        return first if self.utcoffset(first) == here.utcoffset() else first.replace(fold=1)


LOCAL: Final = _Local()


def clock() -> datetime:
    """Return what time it is, in the local zone."""
    return datetime.now(UTC).astimezone(LOCAL)


def age(moment: str, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was, as kubectl does: 45s, 12m, 3h, 8d; empty for what is no time."""
    at = _read(moment)
    if at is None:
        return ""
    seconds = max(0, int((now - at).total_seconds()))
    for limit, unit, letter in _UNITS:
        if seconds < limit:
            return f"{seconds // unit}{letter}"
    return f"{seconds // 86400}d"


def when(moment: str, now: datetime) -> str:
    """Return an RFC 3339 time as people say it: 3m, 5h, yesterday 18:30, Mon 18:30, 14 Nov 18:30, 2025-11-14.

    In the zone of `now`; at most 15 columns, and empty for what is no time.
    """
    at = _read(moment)
    if at is None:
        return ""
    here = at.astimezone(now.tzinfo)
    days = (now.date() - here.date()).days
    if days <= 0 or now - at < _SOON:
        return age(moment, now)
    if days < _WEEK:
        return f"{'yesterday' if days == 1 else _DAYS[here.weekday()]} {here:%H:%M}"
    if here.year == now.year:
        return f"{here.day} {_MONTHS[here.month - 1]} {here:%H:%M}"
    return f"{here:%Y-%m-%d}"


def local(moment: str) -> str:
    """Return an RFC 3339 time in the local zone, to the second."""
    at = _read(moment)
    return "" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M:%S %z}"


def _read(moment: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(moment)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
