"""What a process exports is about what it does."""

from __future__ import annotations

import pytest

from app.telemetry.metrics import Metrics

OF_THE_WATCHER = ("kubewitness_watcher_leading", "kubewitness_failed_jobs_waiting")


@pytest.mark.parametrize("name", OF_THE_WATCHER)
def test_where_no_jobs_are_watched_nobody_is_said_not_to_lead(name: str) -> None:
    assert Metrics().registry.get_sample_value(name) is None


@pytest.mark.parametrize("name", OF_THE_WATCHER)
def test_where_jobs_are_watched_it_is_said_from_the_start_that_nobody_leads(name: str) -> None:
    metrics = Metrics()
    metrics.watching()

    assert metrics.registry.get_sample_value(name) == 0
