"""Which report somebody wants: a period, and hours beyond which changes are remarkable."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

import msgspec

from app.core.moments import parse_moment
from app.core.working_hours import WorkingHours, working_hours, zone_of

USUAL_SINCE: Final = "7d"
USUAL_UNTIL: Final = "now"


class Office(msgspec.Struct, frozen=True, kw_only=True):
    """When people are at work, as it is written: see working_hours."""

    hours: str = "8-18"
    days: str = "mon-fri"
    zone: str = "UTC"

    def understood(self) -> WorkingHours:
        """Return the hours; raises ValueError that says what can be written."""
        return working_hours(self.hours, self.days, self.zone)


class ReportWish(msgspec.Struct, frozen=True, kw_only=True):
    """A period, `until` exclusive and not in the future, and when people are at work in it."""

    since: datetime
    until: datetime
    hours: WorkingHours


def report_wish(since: str, until: str, office: Office, now: datetime) -> ReportWish:
    """Read what is wanted; days begin at midnight of the office's zone. Raises ValueError that says what is taken.

    Empty times are the usual ones: the last seven days.
    """
    zone = zone_of(office.zone)
    begin = parse_moment(since or USUAL_SINCE, now, zone).astimezone(UTC)
    end = min(parse_moment(until or USUAL_UNTIL, now, zone).astimezone(UTC), now)
    if begin >= end:
        raise ValueError("the period ends before it begins; write since as the earlier time, and until as the later")
    return ReportWish(since=begin, until=end, hours=office.understood())
