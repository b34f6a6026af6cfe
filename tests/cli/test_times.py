"""Times as a terminal shows them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from app.cli.times import age, when

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
