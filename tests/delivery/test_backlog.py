from __future__ import annotations

import math

import pytest

from app.delivery.backlog import size
from app.sinks.base import Pace

A_SECOND = Pace(1, 1.0)


@pytest.mark.parametrize(
    ("due", "pace", "expected"),
    [
        (50, A_SECOND, 0),
        (51, A_SECOND, 100),
        (10_000, A_SECOND, 100),
        (100_000, A_SECOND, 334),
        (100_000, Pace(20, 60.0), 1000),
        (1500, Pace(50, 1.0), 0),
        (1501, Pace(50, 1.0), 100),
    ],
)
def test_what_the_pace_does_not_let_through_soon_is_told_together(due: int, pace: Pace, expected: int) -> None:
    assert size(due, pace) == expected


@pytest.mark.parametrize("pace", [A_SECOND, Pace(20, 60.0), Pace(5, 2.0), Pace(50, 1.0)])
def test_a_hundred_thousand_drain_in_minutes(pace: Pace) -> None:
    seconds_for_each, due, seconds = pace.seconds / pace.messages, 100_000, 0.0
    while due:
        told = min(size(due, pace) or 1, due)
        due, seconds = due - told, seconds + seconds_for_each

    assert math.ceil(seconds / 60) <= 17
