"""Times as people write them, and as they are stored."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final

_AGO: Final = re.compile(r"(?:(\d{1,6})w)?(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,6})s)?")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def parse_moment(text: str, now: datetime, zone: tzinfo = UTC) -> datetime:
    """Return the time meant by `2h`, `1d12h` (ago), `yesterday`, `today`, a date, or RFC 3339; never before 1970.

    Dates, and times without an offset, are read in `zone`. Raises ValueError that says what can be written.
    """
    text = text.strip()
    here = now.astimezone(zone)
    days = {"today": 0, "yesterday": 1}.get(text.lower())
    if days is not None:
        return (here - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
    ago = _AGO.fullmatch(text)
    try:
        if ago and text:
            weeks, day, hours, minutes, seconds = (int(number or 0) for number in ago.groups())
            moment = now - timedelta(weeks=weeks, days=day, hours=hours, minutes=minutes, seconds=seconds)
        else:
            read = datetime.fromisoformat(text)
            moment = read.replace(tzinfo=zone) if read.tzinfo is None else read
        return max(moment.astimezone(UTC), _EPOCH)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"{text[:40]!r} is not a time; write how long ago (90m, 2h, 7d), a date (2026-01-31), or RFC 3339"
        ) from error


def milliseconds(moment: datetime) -> int:
    """Return unix milliseconds, the unit of time in the journal and in identifiers."""
    return int(moment.timestamp() * 1000)


def moment_at(unix_milliseconds: int) -> datetime:
    """Return the time that unix milliseconds mean."""
    return datetime.fromtimestamp(unix_milliseconds / 1000, UTC)


def written(unix_milliseconds: int) -> str:
    """Return RFC 3339 with milliseconds, as people get it."""
    return moment_at(unix_milliseconds).isoformat(timespec="milliseconds").replace("+00:00", "Z")
