"""Both sides' word that every review of this run was answered, and how."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.cli.controlplane import ControlPlane
from tests.e2e.auditor import Auditor
from tests.e2e.webhooks import FAIL_OPEN, REQUESTS, Webhook

pytestmark = pytest.mark.e2e


def counted(auditor: Auditor, family: str, label: str) -> Counter[str]:
    """The program's own counter, by one of its labels."""
    counts: Counter[str] = Counter()
    for metric in text_string_to_metric_families(auditor.get("/metrics").text):
        for sample in metric.samples:
            if sample.name == f"{family}_total":
                counts[sample.labels.get(label, "")] += int(sample.value)
    return counts


def test_no_review_failed_open(cluster: ControlPlane, webhook: Webhook) -> None:
    samples = [sample for sample in cluster.metrics(FAIL_OPEN) if sample.labels["name"] == webhook.full_name]

    assert sum(sample.value for sample in samples) == 0
    # Releases before 1.24 do not count; all of them log.
    logged = [line for line in cluster.log().splitlines() if webhook.full_name in line and "failing open" in line]
    assert logged == []


def test_every_review_was_answered_with_200(cluster: ControlPlane, webhook: Webhook) -> None:
    samples = [sample for sample in cluster.metrics(REQUESTS) if sample.labels["name"] == webhook.full_name]

    # Releases before 1.23 do not count; the program's own count is below.
    assert {sample.labels["code"] for sample in samples} <= {"200"}


def test_every_review_is_accounted_for(cluster: ControlPlane, auditor: Auditor, webhook: Webhook) -> None:
    called = webhook.calls(cluster)
    answered = counted(auditor, "kubewitness_reviews", "result")

    assert answered.total() >= called > 0
    assert set(answered) <= {"recorded", "ignored"}
    assert counted(auditor, "kubewitness_review_errors", "").total() == 0
