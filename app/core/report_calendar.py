"""How many changes there were when: by the hour, the day or the month of a time zone, as long as the period is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final, Literal, TypeAlias
from zoneinfo import ZoneInfo

import msgspec

Step: TypeAlias = Literal["hour", "day", "month"]

_HOURLY: Final = timedelta(days=3)
_DAILY: Final = timedelta(days=100)
_QUARTER: Final = 900
"""Seconds that are in one step together, whatever the zone: offsets are whole quarters of an hour."""

_MOST_QUARTERS: Final = 10_000
_LEAST: Final = 3
"""Height of the smallest part of a bar, of a hundred."""


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """The changes of a step: by people and by controllers, and how high these are drawn, up to 100 together."""

    label: str
    people: int
    controllers: int
    people_height: int
    controllers_height: int

    @property
    def total(self) -> int:
        """All changes of the step."""
        return self.people + self.controllers


class Calendar:
    """Counts changes by steps of the clock on the wall."""

    def __init__(self, since: datetime, until: datetime, zone: ZoneInfo) -> None:
        self.since, self.until, self.zone = since, until, zone
        self.step: Step = "hour" if until - since <= _HOURLY else "day" if until - since <= _DAILY else "month"
        self._counts: dict[str, list[int]] = {label: [0, 0] for label in self._labels()}
        self._quarters: dict[int, list[int]] = {}

    def add(self, at: datetime, is_human: bool) -> None:
        """Count a change; one that is not of the period is with its nearest end."""
        quarter = int(at.timestamp()) // _QUARTER
        counts = self._quarters.get(quarter)
        if counts is None:
            if len(self._quarters) == _MOST_QUARTERS:
                self._quarters.clear()
            counts = self._quarters[quarter] = self._counts.setdefault(self._label(self._within(at)), [0, 0])
        counts[not is_human] += 1

    def bars(self) -> list[Bar]:
        """Return the steps in order, those without changes as well."""
        highest = max((sum(each) for each in self._counts.values()), default=0) or 1
        return [
            Bar(
                label=label,
                people=people,
                controllers=controllers,
                people_height=_scaled(people, highest),
                controllers_height=_scaled(controllers, highest),
            )
            for label, (people, controllers) in sorted(self._counts.items())
        ]

    def _within(self, at: datetime) -> datetime:
        return min(max(at, self.since), self.until - timedelta(microseconds=1))

    def _label(self, at: datetime) -> str:
        """Return the name of a step, which is in the order of time."""
        local = at.astimezone(self.zone)
        if self.step == "hour":
            return local.strftime("%Y-%m-%d %H:00")
        return local.strftime("%Y-%m-%d" if self.step == "day" else "%Y-%m")

    def _labels(self) -> list[str]:
        width = timedelta(hours=1) if self.step == "hour" else timedelta(hours=12)
        number = int((self.until - self.since) / width) + 1
        moments = (self.since.astimezone(UTC) + width * count for count in range(number))
        every = (*(each for each in moments if each < self.until), self._within(self.until))
        return list(dict.fromkeys(map(self._label, every)))


def _scaled(count: int, highest: int) -> int:
    return max(_LEAST, round(count / highest * (100 - _LEAST))) if count else 0
