"""Waits grow at random up to a limit, and never fall below what a server asked for."""

from __future__ import annotations

import random

from app.kube.backoff import Backoff


def longest(_low: float, high: float) -> float:
    return high


def test_waits_double_up_to_half_a_minute_and_begin_again_after_a_success() -> None:
    backoff = Backoff(longest)

    assert [backoff.next() for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]
    backoff.reset()
    assert backoff.next() == 0.5


def test_waits_differ_between_clients() -> None:
    waits = {Backoff(random.Random(seed).uniform).next() for seed in range(20)}

    assert len(waits) == 20
    assert all(0 <= wait <= 0.5 for wait in waits)


def test_a_servers_wish_is_the_least_but_not_for_ever() -> None:
    backoff = Backoff(longest)

    assert (backoff.next(7), backoff.next(86400)) == (7.5, 301)


def test_a_thousand_failures_overflow_nothing() -> None:
    backoff = Backoff(longest)

    assert [backoff.next() for _ in range(1100)][-1] == 30
