"""What the API server got an answer for is in the ledger, although the program was killed at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import httpx
import pytest

from app.cli.controlplane import ControlPlane
from tests.e2e.auditor import Auditor

pytestmark = pytest.mark.e2e

LABELS: Final = {"witnessed": "strictly"}
PATCH: Final = {"Content-Type": "application/merge-patch+json"}
BEFORE_KILL: Final = 25


@pytest.fixture
def strict(cluster: ControlPlane, tmp_path: Path) -> Iterator[Auditor]:
    """Start an auditor without which no ConfigMap of the namespace `strict` changes: failurePolicy Fail."""
    cluster.kubectl("create", "namespace", "strict")
    cluster.kubectl("label", "namespace", "strict", "witnessed=strictly")
    with Auditor(tmp_path / "strict", "") as auditor:
        webhook = auditor.webhook("strict", resources=("configmaps",), failure_policy="Fail", namespace_labels=LABELS)
        webhook.register(cluster, namespace="strict")
        yield auditor
        cluster.kubectl("delete", "validatingwebhookconfiguration", webhook.full_name)


def patch(client: httpx.Client, number: int) -> bool:
    body = json.dumps({"data": {"number": str(number)}})
    answer = client.patch("/api/v1/namespaces/strict/configmaps/probe", content=body, headers=PATCH)
    return answer.is_success


def test_a_kill_loses_nothing_that_was_acknowledged(cluster: ControlPlane, strict: Auditor) -> None:
    acknowledged: list[int] = []
    warm = threading.Event()

    def patch_until_refused() -> None:
        with cluster.client() as client:
            number = 0
            while patch(client, number):
                acknowledged.append(number)
                number += 1
                if number == BEFORE_KILL:
                    warm.set()

    writer = threading.Thread(target=patch_until_refused)
    writer.start()
    assert warm.wait(timeout=20)
    strict.kill()
    writer.join(timeout=20)
    strict.start()

    entries = strict.entries(name="probe", operation="UPDATE")
    changes = [change for entry in entries for change in entry["changes"]]
    recorded = {change["new"] for change in changes if change["path"] == "data.number"}
    assert len(acknowledged) >= BEFORE_KILL
    assert {str(number) for number in acknowledged} <= recorded
