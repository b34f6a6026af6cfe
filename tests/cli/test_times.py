"""Times as a terminal shows them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from app.cli.times import LOCAL, age, when
from app.core.moments import parse_moment

HERE = timezone(timedelta(hours=1))
NOW = datetime(2026, 3, 18, 14, 30, tzinfo=HERE)


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2026-03-18T13:29:15Z", "45s"),
        ("2026-03-18T13:27:00Z", "3m"),
        ("2026-03-18T13:31:00Z", "0s"),
        ("2026-03-18T05:29:00.123456Z", "8h"),
        ("2026-03-17T23:10:00Z", "14h"),
        ("2026-03-17T17:30:00Z", "yesterday 18:30"),
        ("2026-03-16T08:15:00Z", "Mon 09:15"),
        ("2026-03-12T08:15:00+02:00", "Thu 07:15"),
        ("2026-03-11T08:15:00Z", "11 Mar 09:15"),
        ("2025-11-14T17:30:00Z", "2025-11-14"),
        ("no time", ""),
    ],
)
def test_a_time_is_said_as_people_say_it(moment: str, shown: str) -> None:
    assert when(moment, NOW) == shown
    assert len(shown) <= 15


def test_what_was_before_midnight_is_soon_after_it_known_by_its_age() -> None:
    midnight = datetime(2026, 3, 18, 0, 10, tzinfo=HERE)

    assert when("2026-03-17T22:50:00Z", midnight) == "20m"
    assert when("2026-03-17T08:50:00Z", midnight) == "yesterday 09:50"


@pytest.mark.parametrize(("moment", "shown"), [("2026-03-18T13:29:15Z", "45s"), ("2026-03-09T13:30:00Z", "9d")])
def test_an_age_has_no_blanks(moment: str, shown: str) -> None:
    assert age(moment, NOW) == shown


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-10-01", "2026-09-30T22:00:00+00:00"),
        ("2026-11-20 09:00", "2026-11-20T08:00:00+00:00"),
        ("saturday 9:00", "2026-10-24T07:00:00+00:00"),
        ("yesterday", "2026-10-24T22:00:00+00:00"),
        ("today", "2026-10-25T23:00:00+00:00"),
    ],
)
@pytest.mark.usefixtures("berlin")
def test_days_begin_at_midnight_also_before_clocks_were_put_back(text: str, moment: str) -> None:
    now = datetime(2026, 10, 26, 11, tzinfo=UTC).astimezone(LOCAL)

    assert parse_moment(text, now, LOCAL).astimezone(UTC).isoformat() == moment


@pytest.mark.usefixtures("berlin")
def test_a_time_of_summer_is_that_of_summers_clock() -> None:
    now = datetime(2026, 11, 22, 11, tzinfo=UTC).astimezone(LOCAL)

    assert when("2026-10-14T16:30:00Z", now) == "14 Oct 18:30"
    assert when("2026-11-14T16:30:00Z", now) == "14 Nov 17:30"


@pytest.mark.usefixtures("berlin")
def test_each_moment_of_the_night_when_clocks_are_put_back_is_itself() -> None:
    moments = [datetime(2026, 10, 24, 23, tzinfo=UTC) + timedelta(minutes=20 * count) for count in range(12)]

    assert [each.astimezone(LOCAL).astimezone(UTC) for each in moments] == moments
    assert str(moments[4].astimezone(LOCAL)) == "2026-10-25 02:20:00+02:00"
    assert str(moments[7].astimezone(LOCAL)) == "2026-10-25 02:20:00+01:00"


@pytest.mark.usefixtures("berlin")
def test_an_hour_that_comes_twice_is_counted_twice() -> None:
    now = datetime(2026, 10, 25, 4, 30, tzinfo=UTC).astimezone(LOCAL)

    assert when("2026-10-24T21:50:00Z", now) == "yesterday 23:50"
    assert when("2026-10-24T22:40:00Z", now) == "5h"
