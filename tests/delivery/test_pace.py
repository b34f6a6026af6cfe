from __future__ import annotations

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.delivery.pace import NOW, Lanes
from app.sinks.base import Pace
from tests.delivery.fakes import START

SECOND = timedelta(seconds=1)


def test_without_a_pace_nobody_waits() -> None:
    lanes = Lanes(None)
    lanes.sent("", START)

    assert lanes.wait("", START) == NOW


def test_so_many_go_at_once_and_the_next_when_the_first_is_a_span_ago() -> None:
    lanes = Lanes(Pace(2, 10.0))
    lanes.sent("", START)
    assert lanes.wait("", START) == NOW
    lanes.sent("", START + 3 * SECOND)

    assert lanes.wait("", START + 4 * SECOND) == 6 * SECOND
    assert lanes.wait("", START + 10 * SECOND) == NOW


def test_a_lane_waits_for_itself_alone() -> None:
    lanes = Lanes(Pace(1, 1.0))
    lanes.sent("#a", START)

    assert (lanes.wait("#a", START), lanes.wait("#b", START)) == (SECOND, NOW)


def test_a_lane_that_is_held_waits_until_then() -> None:
    lanes = Lanes(Pace(1, 1.0))
    lanes.hold("#a", START, 30 * SECOND)

    assert lanes.wait("#a", START + 10 * SECOND) == 20 * SECOND
    assert lanes.wait("#a", START + 31 * SECOND) == NOW


def test_a_clock_that_is_set_back_costs_a_span_at_most() -> None:
    lanes = Lanes(Pace(1, 5.0))
    lanes.sent("", START + timedelta(days=1))

    assert lanes.wait("", START) == 5 * SECOND


def test_lanes_of_the_past_are_forgotten() -> None:
    lanes = Lanes(Pace(1, 1.0))
    for number in range(5000):
        lanes.sent(f"#{number}", START + number * SECOND)

    assert len(lanes._sent) <= 1024


@given(st.integers(1, 5), st.lists(st.floats(0, 3), max_size=60))
def test_in_no_span_are_there_more_than_the_receiver_takes(messages: int, pauses: list[float]) -> None:
    lanes, now, sent = Lanes(Pace(messages, 1.0)), START, []
    for pause in pauses:
        now += timedelta(seconds=pause)
        now += lanes.wait("", now)
        lanes.sent("", now)
        sent.append(now)

    assert all(later - first >= SECOND for first, later in zip(sent, sent[messages:], strict=False))


def test_a_clock_that_is_set_back_ends_what_a_receiver_asked_for() -> None:
    lanes = Lanes(None)
    lanes.hold("#a", START, 30 * SECOND)

    assert lanes.wait("#a", START + 10 * SECOND) == 20 * SECOND
    assert lanes.wait("#a", START - 3600 * SECOND) == 0 * SECOND
