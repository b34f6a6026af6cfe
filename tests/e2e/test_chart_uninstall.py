"""`helm uninstall` leaves nothing behind but the ledger."""

from __future__ import annotations

import pytest

from tests.chart.helm import Helm
from tests.e2e.installed import Release
from tests.e2e.node.ground import Ground
from tests.e2e.webhooks import eventually

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(200)]

CLUSTER_WIDE = "validatingwebhookconfigurations,clusterroles,clusterrolebindings"
OWN = "secrets,leases,configmaps,services,serviceaccounts,roles,rolebindings,statefulsets,jobs,pods,endpoints"
UNOWNED = ("default", "kube-root-ca.crt")
"""What the cluster itself keeps in every namespace."""
EMPTY_SECONDS = 60.0
"""Helm does not wait for Pods, which drain for 15 s."""


def test_uninstall_leaves_nothing_but_the_claim(ground: Ground, helm: Helm) -> None:
    with Release(helm, ground.cluster, "kubewitness-gone") as release:
        release.install({"watcher": {"enabled": True}})
        eventually(lambda: release.get("lease", f"{release.name}-watcher")["spec"].get("holderIdentity"), "a leader")
        assert "ca.crt" in release.get("secret", release.name)["data"]

        release.helm("uninstall", release.name, "--wait", "--timeout=90s")

        eventually(lambda: not names(release, OWN), "an empty namespace", seconds=EMPTY_SECONDS)
        assert [name for name in names(release, CLUSTER_WIDE) if release.name in name] == []
        assert names(release, "persistentvolumeclaims") == [f"PersistentVolumeClaim/data-{release.name}-0"]


def names(release: Release, kinds: str) -> list[str]:
    items = release.get(kinds)["items"]
    found = [(item["kind"], item["metadata"]["name"]) for item in items]
    return sorted(f"{kind}/{name}" for kind, name in found if not name.startswith(UNOWNED))
