from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.delivery.retry import RetryPolicy, next_attempt
from tests.delivery.fakes import START


def wait(attempt: int, random: float = 1.0, retry_after: timedelta | None = None) -> timedelta | None:
    again = next_attempt(attempt, now=START, retry_after=retry_after, random=lambda: random)
    return None if again is None else again - START


@pytest.mark.parametrize(("attempt", "seconds"), [(1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (19, 300)])
def test_the_longest_wait_doubles_up_to_five_minutes(attempt: int, seconds: int) -> None:
    assert wait(attempt) == timedelta(seconds=seconds)


def test_the_wait_is_drawn_from_the_whole_range() -> None:
    assert wait(5, random=0.0) == timedelta(0)
    assert wait(5, random=0.25) == timedelta(seconds=4)


def test_it_gives_up_after_sixty_attempts_over_some_hours() -> None:
    waits = [wait(attempt) for attempt in range(1, 61)]

    assert waits[-1] is None
    assert sum((each for each in waits if each), timedelta(0)) == timedelta(hours=4, minutes=18, seconds=31)


def test_an_hour_is_survived_whatever_is_drawn() -> None:
    draws = random.Random(1)

    shortest = min(sum(waits(draws), timedelta(0)) for _ in range(500))

    assert shortest > timedelta(hours=1)


def waits(draws: random.Random) -> Iterator[timedelta]:
    """The waits of a delivery that always fails."""
    for attempt in itertools.count(1):
        again = wait(attempt, random=draws.random())
        if again is None:
            return
        yield again


def test_the_receiver_can_ask_for_longer_but_not_for_more_than_an_hour() -> None:
    assert wait(1, retry_after=timedelta(seconds=7)) == timedelta(seconds=7)
    assert wait(10, retry_after=timedelta(seconds=7)) == timedelta(minutes=5)
    assert wait(1, retry_after=timedelta(days=2)) == timedelta(hours=1)


def test_asking_to_wait_is_no_reason_to_try_for_ever() -> None:
    assert wait(60, retry_after=timedelta(seconds=7)) is None


def test_the_policy_is_a_parameter() -> None:
    policy = RetryPolicy(base=timedelta(minutes=1), cap=timedelta(minutes=3), max_attempts=4)

    again = [next_attempt(n, now=START, retry_after=None, random=lambda: 1.0, policy=policy) for n in range(1, 5)]

    assert again == [*(START + timedelta(minutes=minutes) for minutes in (1, 2, 3)), None]


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.none() | st.timedeltas(min_value=timedelta(0)))
def test_the_next_attempt_is_never_in_the_past_nor_beyond_an_hour(
    attempt: int, random: float, retry_after: timedelta | None
) -> None:
    policy = RetryPolicy(max_attempts=20_000)

    again = next_attempt(attempt, now=START, retry_after=retry_after, random=lambda: random, policy=policy)

    assert again is not None
    assert START <= again <= START + timedelta(hours=1)
