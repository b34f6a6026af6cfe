"""When a sink is told: Robusta's weekly `activity` windows and its `mute_intervals`, each in a time zone of its own."""

from __future__ import annotations

import datetime as dt
import re
import zoneinfo
from collections.abc import Callable, Sequence
from datetime import time
from typing import Annotated, Final, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from app.core.nearest import UnknownWordError, nearest
from app.core.refusal import Refusal

Instant = dt.datetime
DAYS: Final = ("mon", "tue", "wed", "thr", "fri", "sat", "sun")
"""As Robusta spells them; `thu` is understood too, since Robusta's own examples write it."""

_TIME: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")
_MINUTE: Final = "%Y-%m-%d %H:%M"


def _day(value: object) -> object:
    day = value.lower() if isinstance(value, str) else value
    day = "thr" if day == "thu" else day
    if not isinstance(day, str) or day not in DAYS:
        near = nearest(str(value).lower(), DAYS)
        raise UnknownWordError(f"{value!r} is not a day; there are {', '.join(DAYS)}", near)
    return day


def _clock(value: object) -> object:
    # YAML 1.1 reads an unquoted 16:30 as the number 990, minutes in base 60; 08:30 stays a text.
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 24 * 60:
        value = f"{value // 60:02d}:{value % 60:02d}"
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise ValueError(f"{value!r} is not a time of day; write it as '16:30'")
    return value


def _zone(name: str) -> str:
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        near = nearest(name, zoneinfo.available_timezones())
        raise UnknownWordError(f"{name!r} is not a time zone, such as Europe/Berlin", near) from error
    return name


def _minute(value: object) -> object:
    try:
        if isinstance(value, str):
            # Written anew, since windows are compared as texts, and `2026-1-5 8:00` can be read, too.
            return format(Instant.strptime(value, _MINUTE), _MINUTE)
    except ValueError:
        pass
    raise ValueError(f"{value!r} is not a date and time; write it as '2026-12-24 18:00'")


Day = Annotated[str, BeforeValidator(_day)]
TimeOfDay = Annotated[str, BeforeValidator(_clock, json_schema_input_type=str | int)]
Zone = Annotated[str, AfterValidator(_zone), Field(description="Name of a time zone, such as Europe/Berlin.")]
Minute = Annotated[str, BeforeValidator(_minute)]


class _Window(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ActivityHours(_Window):
    """A part of a day, its first and its last minute included.

    The last minute counts to its end, where Robusta's code stops after its first second: its documentation covers a day
    by 00:00 to 12:00 and 12:00 to 23:59, which is to leave no minute out.
    """

    start: Annotated[TimeOfDay, Field(description="First minute, such as '16:30'.")]
    end: Annotated[TimeOfDay, Field(description="Last minute, to its end.")]

    def covers(self, moment: time) -> bool:
        """Say whether the moment of a day is within."""
        return self.start <= f"{moment:%H:%M}" <= self.end


class ActivityInterval(_Window):
    """Days of the week, and optionally hours of these days."""

    days: Annotated[list[Day], Field(min_length=1, description=f"Any of {', '.join(DAYS)}.")]
    hours: Annotated[list[ActivityHours], Field(description="Parts of those days; by default the whole.")] = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        for hours in self.hours:
            if hours.end < hours.start:
                raise ValueError(
                    f"hours end at {hours.end}, before they start at {hours.start}; for a night write two intervals,"
                    f" {hours.start} to 23:59 and 00:00 to {hours.end}"
                )
        return self

    def covers(self, moment: Instant) -> bool:
        """Say whether the moment, in the window's own time zone, is within."""
        if DAYS[moment.weekday()] not in self.days:
            return False
        return not self.hours or any(hours.covers(moment.time()) for hours in self.hours)


class Activity(_Window):
    """When a sink is active, by the clock on the wall there: days may have 23 or 25 hours."""

    timezone: Zone = "UTC"
    intervals: Annotated[list[ActivityInterval], Field(description="It is active in any of these.")] = []

    @model_validator(mode="after")
    def _check(self) -> Self:
        # An empty mapping means always: Robusta's overview of the sinks' options writes `activity: {}` for that.
        if self.model_fields_set and not self.intervals:
            raise ValueError("needs intervals, at least one, such as {days: [mon, tue]}")
        return self


class MuteInterval(_Window):
    """A time in which a sink is told nothing, its first and its last minute included."""

    start_date: Annotated[Minute, Field(description="First minute, such as '2026-12-24 18:00'.")]
    end_date: Annotated[Minute, Field(description="Last minute, to its end.")]
    timezone: Zone = "UTC"

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.end_date < self.start_date:
            raise ValueError(f"ends at {self.end_date}, before it starts at {self.start_date}")
        return self


Silence = Callable[[Instant], Refusal | None]
"""Says why a sink is told nothing at a moment; None where it is told."""


def compile_windows(activity: Activity | None, mute_intervals: Sequence[MuteInterval] | None) -> Silence | None:
    """Return what says why a sink is silent at a moment; None for one that never is."""
    reasons = [_muted(each) for each in mute_intervals or ()]
    if activity is not None and activity.intervals:
        reasons.append(_inactive(activity))

    def silence(moment: Instant) -> Refusal | None:
        return next((found for reason in reasons if (found := reason(moment)) is not None), None)

    return silence if reasons else None


def _muted(mute: MuteInterval) -> Silence:
    zone = zoneinfo.ZoneInfo(mute.timezone)

    def silence(moment: Instant) -> Refusal | None:
        if not mute.start_date <= format(moment.astimezone(zone), _MINUTE) <= mute.end_date:
            return None
        return Refusal("mute_intervals", f"muted from {mute.start_date} to {mute.end_date} {mute.timezone}")

    return silence


def _inactive(activity: Activity) -> Silence:
    zone = zoneinfo.ZoneInfo(activity.timezone)

    def silence(moment: Instant) -> Refusal | None:
        local = moment.astimezone(zone)
        if any(interval.covers(local) for interval in activity.intervals):
            return None
        return Refusal("activity", f"not active on {DAYS[local.weekday()]} at {local:%H:%M} {activity.timezone}")

    return silence
