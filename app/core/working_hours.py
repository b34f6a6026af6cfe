"""When people are at work: hours of days of the week, by the clock on the wall of a time zone."""

from __future__ import annotations

import re
import zoneinfo
from datetime import datetime
from typing import Final

import msgspec

from app.core.nearest import nearest

DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
"""In the order of `datetime.weekday`."""

_HOURS: Final = re.compile(r"(\d{1,2})(?::([0-5]\d))?\s*-\s*(\d{1,2})(?::([0-5]\d))?")
_DAY_MINUTES: Final = 24 * 60


class WorkingHours(msgspec.Struct, frozen=True, kw_only=True):
    """From the minute `begin` of a day up to the minute `end`, on `days` of the week (0 is Monday), in a zone.

    An end that is not after the begin is on the next day.
    """

    begin: int
    end: int
    days: frozenset[int]
    zone: zoneinfo.ZoneInfo

    def covers(self, moment: datetime) -> bool:
        """Say whether a moment is within."""
        local = moment.astimezone(self.zone)
        minute, day = local.hour * 60 + local.minute, local.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)

    def __str__(self) -> str:
        clock = "-".join(f"{each // 60:02d}:{each % 60:02d}" for each in (self.begin, self.end))
        return f"{clock}, {_names(self.days)}, {self.zone.key}"


def working_hours(hours: str, days: str, zone: str) -> WorkingHours:
    """Return what is meant by `8-18` or `8:30-17:00`, `mon-fri` or `mon,wed,fri`, and `Europe/Paris`.

    Raises ValueError that says what can be written.
    """
    begin, end = _hours(hours)
    return WorkingHours(begin=begin, end=end, days=_days(days), zone=zone_of(zone))


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """Return a time zone by its name; raises ValueError that names the nearest one."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = nearest(name, zoneinfo.available_timezones())
        hint = f"did you mean {near}?" if near else "write one such as Europe/Paris or UTC"
        raise ValueError(f"{name[:40]!r} is not a time zone: {hint}") from error


def _hours(text: str) -> tuple[int, int]:
    found = _HOURS.fullmatch(text.strip())
    if found:
        one, minute, two, other = (int(part or 0) for part in found.groups())
        begin, end = one * 60 + minute, two * 60 + other
        if begin < _DAY_MINUTES and end <= _DAY_MINUTES and begin != end:
            return begin, end
    raise ValueError(f"{text[:40]!r} are no hours; write 8-18, 8:30-17:00, or 22-6 for a night")


def _days(text: str) -> frozenset[int]:
    found = set[int]()
    for part in text.lower().split(","):
        first, is_range, last = (each.strip() for each in part.partition("-"))
        one, two = _day(first), _day(last if is_range else first)
        found.update((one + step) % 7 for step in range((two - one) % 7 + 1))
    return frozenset(found)


def _day(name: str) -> int:
    if name not in DAYS:
        near = nearest(name, DAYS, alike=0.6)
        hint = f"did you mean {near}?" if near else "write mon-fri, or sun,mon,tue"
        raise ValueError(f"{name[:40]!r} is not a day: {hint}")
    return DAYS.index(name)


def _names(days: frozenset[int]) -> str:
    ordered = sorted(days)
    if len(ordered) > 2 and ordered == list(range(ordered[0], ordered[-1] + 1)):  # noqa: PLR2004  two are listed
        return f"{DAYS[ordered[0]]}-{DAYS[ordered[-1]]}"
    return ", ".join(DAYS[day] for day in ordered)
