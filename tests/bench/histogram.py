"""Prometheus histograms of the API server, as they change over a measurement."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from prometheus_client.samples import Sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Observed durations: cumulative counts by upper bound in seconds, and their sum."""

    buckets: Mapping[float, float]
    seconds: float

    @classmethod
    def of(cls, samples: Iterable[Sample], *, name: str, webhook: str) -> Self:
        """Add up the samples of one webhook, whatever the operation."""
        buckets: dict[float, float] = defaultdict(float)
        seconds = 0.0
        for sample in samples:
            if sample.labels.get("name") == webhook and sample.name == f"{name}_bucket":
                buckets[float(sample.labels["le"])] += sample.value
            elif sample.labels.get("name") == webhook and sample.name == f"{name}_sum":
                seconds += sample.value
        return cls(buckets=dict(sorted(buckets.items())), seconds=seconds)

    @property
    def count(self) -> float:
        return self.buckets.get(math.inf, 0.0)

    def since(self, earlier: Self) -> Self:
        """Return what was observed after `earlier`."""
        buckets = {bound: count - earlier.buckets.get(bound, 0.0) for bound, count in self.buckets.items()}
        return type(self)(buckets=buckets, seconds=self.seconds - earlier.seconds)

    def mean_milliseconds(self) -> float:
        return 1000 * self.seconds / self.count if self.count else math.nan

    def quantile_milliseconds(self, quantile: float) -> float:
        """Interpolate within the bucket, as PromQL's histogram_quantile does; no finer than the buckets are."""
        rank, lower, below = quantile * self.count, 0.0, 0.0
        for upper, count in self.buckets.items():
            if count >= rank and count > below:
                width = 0.0 if math.isinf(upper) else upper - lower
                return 1000 * (lower + width * (rank - below) / (count - below))
            lower, below = upper, count
        return math.nan
