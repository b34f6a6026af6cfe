"""Times as people write them, and as they are stored."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_AGO: Final = re.compile(r"(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
"""In the order of `datetime.weekday`."""

_DAY: Final = re.compile(rf"(today|yesterday|{'|'.join(_DAYS)})(?:\s+([0-2]?[0-9]):([0-5][0-9])(?::([0-5][0-9]))?)?")
TAKES: Final = "how long ago (90m, 2h, 7d), a day (yesterday, monday 9:00), a date (2026-01-31) or RFC 3339"
"""What is read as a time, for whoever wrote something else."""

_WEEK: Final = timedelta(days=7)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)


def parse_moment(text: str, now: datetime, zone: tzinfo = UTC) -> datetime:
    """Return the time meant by `2h`, `1d12h` (ago), `yesterday`, `monday 9:00`, a date, or RFC 3339; never before 1970.

    `now`, `today` and `yesterday` may be meant; a day begins at midnight unless a time follows; a day of the week is
    the last one of which that time has come. Dates, and times without an offset, are read in `zone`. Raises ValueError
    that says what can be written.
    """
    text = text.strip()
    try:
        day = _DAY.fullmatch(text.lower())
        if day:
            return _on_day(day, now.astimezone(zone))
        return max(_read(text, now, zone).astimezone(UTC), _EPOCH)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:40]!r} is not a time; write {TAKES}") from error


def _on_day(day: re.Match[str], here: datetime) -> datetime:
    name, hour, minute, second = day.groups(default="0")
    moment = here.replace(hour=int(hour), minute=int(minute), second=int(second), microsecond=0)
    if name not in _DAYS:
        return moment - timedelta(days=name == "yesterday")
    moment -= timedelta(days=(here.weekday() - _DAYS.index(name)) % 7)
    return moment - _WEEK if moment > here else moment


def _read(text: str, now: datetime, zone: tzinfo) -> datetime:
    ago = _AGO.fullmatch(text)
    if text.lower() == "now":
        return now
    if ago and text:
        weeks, days, hours, minutes, seconds = (int(number or 0) for number in ago.groups())
        return now - timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    read = datetime.fromisoformat(text)
    return read.replace(tzinfo=zone) if read.tzinfo is None else read


def milliseconds(moment: datetime) -> int:
    """Return unix milliseconds, the unit of time in the journal and in identifiers."""
    # Not by way of a float, which makes some of them one too few.
    return (moment - _EPOCH) // _MILLISECOND


def moment_at(unix_milliseconds: int) -> datetime:
    """Return the time that unix milliseconds mean."""
    return _EPOCH + timedelta(milliseconds=unix_milliseconds)


def written(unix_milliseconds: int) -> str:
    """Return RFC 3339 with milliseconds, as people get it."""
    return moment_at(unix_milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
