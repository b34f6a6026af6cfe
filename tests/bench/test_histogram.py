"""The arithmetic behind the numbers that the benchmark prints."""

from __future__ import annotations

import math

import pytest
from prometheus_client.samples import Sample

from tests.bench.histogram import Histogram

BUCKETS = {0.005: 50.0, 0.025: 90.0, math.inf: 100.0}


def test_a_quantile_is_interpolated_within_its_bucket() -> None:
    histogram = Histogram(buckets=BUCKETS, seconds=1.0)

    assert histogram.quantile_milliseconds(0.25) == pytest.approx(2.5)
    assert histogram.quantile_milliseconds(0.70) == pytest.approx(15)
    assert histogram.quantile_milliseconds(0.99) == pytest.approx(25)
    assert histogram.mean_milliseconds() == pytest.approx(10)


def test_only_what_came_later_counts() -> None:
    later = Histogram(buckets={0.005: 150.0, 0.025: 190.0, math.inf: 200.0}, seconds=1.5)

    difference = later.since(Histogram(buckets=BUCKETS, seconds=1.0))

    assert difference == Histogram(buckets={0.005: 100.0, 0.025: 100.0, math.inf: 100.0}, seconds=0.5)


def test_the_samples_of_one_webhook_are_added_up() -> None:
    def sample(suffix: str, value: float, webhook: str, operation: str, **labels: str) -> Sample:
        return Sample(f"took_{suffix}", {"name": webhook, "operation": operation, **labels}, value)

    samples = [
        sample("bucket", 2, "ours", "UPDATE", le="+Inf"),
        sample("bucket", 3, "ours", "CREATE", le="+Inf"),
        sample("bucket", 7, "other", "UPDATE", le="+Inf"),
        sample("sum", 0.5, "ours", "UPDATE"),
        sample("sum", 9, "other", "UPDATE"),
    ]

    assert Histogram.of(samples, name="took", webhook="ours") == Histogram(buckets={math.inf: 5.0}, seconds=0.5)


def test_nothing_observed_has_no_quantile() -> None:
    assert math.isnan(Histogram(buckets={}, seconds=0).quantile_milliseconds(0.5))
