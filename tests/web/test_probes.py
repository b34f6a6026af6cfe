"""Probes say whether the process lives and whether reviews should come to it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from app.telemetry.metrics import Metrics
from app.web.health import Check, Health
from tests.web.ledgers import checks, client_of, console_of

OK, DEGRADED, DOWN = Check("ok"), Check("degraded", "disk full"), Check("unavailable", "queue full")


async def get(path: str, health: Health | None = None, metrics: Metrics | None = None) -> httpx.Response:
    async with client_of(console_of(Path("/nowhere"), health, metrics)) as client:
        return await client.get(path)


async def test_liveness_depends_on_nothing_else() -> None:
    response = await get("/livez", checks(journal=DOWN))

    assert (response.status_code, response.text) == (200, "ok")


@pytest.mark.parametrize(
    ("health", "code", "status"),
    [
        (checks(), 200, "ok"),
        (checks(journal=OK, config=OK), 200, "ok"),
        (checks(journal=DEGRADED, config=OK), 200, "degraded"),
        (checks(journal=OK, config=DEGRADED, certificate=DOWN), 503, "unavailable"),
    ],
)
async def test_readiness_is_that_of_the_worst_part(health: Health, code: int, status: str) -> None:
    response = await get("/readyz", health)

    assert (response.status_code, response.json()["status"]) == (code, status)


async def test_readiness_says_what_is_wrong() -> None:
    response = await get("/readyz", checks(journal=DEGRADED, config=OK))

    assert response.json()["checks"] == {
        "journal": {"state": "degraded", "message": "disk full"},
        "config": {"state": "ok"},
    }


async def test_a_draining_process_is_alive_and_not_ready() -> None:
    health = checks(journal=OK)
    health.draining = True

    ready, alive = await get("/readyz", health), await get("/livez", health)

    assert (ready.status_code, ready.json()["checks"]["shutdown"]["state"]) == (503, "unavailable")
    assert alive.status_code == 200


async def test_metrics_are_in_the_format_of_prometheus() -> None:
    metrics = Metrics()
    metrics.reviews.labels("UPDATE", "recorded").inc()
    metrics.follow_journal(lambda: 3, lambda: 0.5)

    response = await get("/metrics", metrics=metrics)

    assert response.headers["content-type"].startswith("text/plain; version=")
    assert 'kubewitness_reviews_total{operation="UPDATE",result="recorded"} 1.0\n' in response.text
    assert "kubewitness_journal_pending_entries 3.0\n" in response.text
    assert "kubewitness_journal_pending_age_seconds 0.5\n" in response.text


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
async def test_probes_only_read(path: str) -> None:
    async with client_of(console_of(Path("/nowhere"))) as client:
        assert (await client.post(path)).status_code == 405
