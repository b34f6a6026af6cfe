"""The API server's own word that every review of this run was answered."""

from __future__ import annotations

import pytest

from app.cli.controlplane import ControlPlane
from tests.e2e.webhooks import FAIL_OPEN, REQUESTS, Webhook

pytestmark = pytest.mark.e2e


def test_no_review_failed_open(cluster: ControlPlane, webhook: Webhook) -> None:
    counted = [sample for sample in cluster.metrics(FAIL_OPEN) if sample.labels["name"] == webhook.full_name]

    assert sum(sample.value for sample in counted) == 0
    # Releases before 1.24 do not count; all of them log.
    logged = [line for line in cluster.log().splitlines() if webhook.full_name in line and "failing open" in line]
    assert logged == []


def test_every_review_was_answered_with_200(cluster: ControlPlane, webhook: Webhook) -> None:
    samples = [sample for sample in cluster.metrics(REQUESTS) if sample.labels["name"] == webhook.full_name]

    assert webhook.calls(cluster) > 0
    assert {sample.labels["code"] for sample in samples} <= {"200"}
