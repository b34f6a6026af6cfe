"""Working hours are read as people write them, and cover what the clock on the wall says there."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.core.working_hours import working_hours

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "is_covered"),
    [
        ("2026-01-05T06:59:59Z", False),
        ("2026-01-05T07:00:00Z", True),
        ("2026-01-05T16:59:59Z", True),
        ("2026-01-05T17:00:00Z", False),
        ("2026-01-10T12:00:00Z", False),
        ("2026-07-06T06:00:00Z", True),
        ("2026-07-06T16:00:00Z", False),
    ],
)
def test_the_clock_of_the_zone_counts_in_winter_and_in_summer(moment: str, is_covered: bool) -> None:
    hours = working_hours("8-18", "mon-fri", "Europe/Paris")

    assert hours.covers(datetime.fromisoformat(moment)) is is_covered


@pytest.mark.parametrize(
    ("day", "hour", "is_covered"), [(5, 23, True), (6, 5, True), (5, 12, False), (5, 5, False), (10, 5, True)]
)
def test_a_night_belongs_to_the_day_on_which_it_begins(day: int, hour: int, is_covered: bool) -> None:
    hours = working_hours("22-6", "mon-fri", "UTC")

    assert hours.covers(MONDAY.replace(day=day, hour=hour)) is is_covered


@pytest.mark.parametrize(
    ("hours", "days", "shown"),
    [
        ("8-18", "mon-fri", "08:00-18:00, mon-fri, UTC"),
        ("8:30-17:15", "Mon, wed,FRI", "08:30-17:15, mon, wed, fri, UTC"),
        ("0-24", "sat-mon", "00:00-24:00, mon, sat, sun, UTC"),
        ("22-6", "sun", "22:00-06:00, sun, UTC"),
    ],
)
def test_hours_are_told_as_they_were_understood(hours: str, days: str, shown: str) -> None:
    assert str(working_hours(hours, days, "UTC")) == shown


@pytest.mark.parametrize(
    ("hours", "days", "zone", "said"),
    [
        ("9to5", "mon", "UTC", "'9to5' are no hours; write 8-18"),
        ("9-9", "mon", "UTC", "are no hours"),
        ("8-25", "mon", "UTC", "are no hours"),
        ("24-3", "mon", "UTC", "are no hours"),
        ("8-18", "mon-fry", "UTC", "'fry' is not a day: did you mean fri?"),
        ("8-18", "", "UTC", "'' is not a day"),
        ("8-18", "mon", "Europe/Pariss", "is not a time zone: did you mean Europe/Paris?"),
        ("8-18", "mon", "../../etc/passwd", "is not a time zone"),
        ("8-18", "mon", "", "is not a time zone"),
    ],
)
def test_what_cannot_be_read_is_said_with_what_can(hours: str, days: str, zone: str, said: str) -> None:
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        working_hours(hours, days, zone)
