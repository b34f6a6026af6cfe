"""The demo's second way: a real API server that calls the webhook, and kubectl that changes things."""

from __future__ import annotations

import asyncio
import base64
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from app.cli.controlplane import ControlPlane, Programs

Step = Callable[[str, Callable[[], Awaitable[str]]], Awaitable[None]]

WEBHOOK: Final = "demo.kubewitness.svc"
NAMESPACE: Final = "shop"

_DEPLOYMENT: Final = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]},
        },
    },
}
COMMANDS: Final = (
    ("alice", ("set", "image", "deployment/web", "web=nginx:1.28")),
    ("alice", ("scale", "deployment/web", "--replicas=3")),
    ("admin", ("label", "deployment/web", "team=checkout")),
    ("alice", ("set", "env", "deployment/web", "DB_PASSWORD=correct-horse")),
    ("admin", ("patch", "configmap", "settings", "--type=merge", "-p", '{"data":{"mode":"fast"}}')),
    ("admin", ("patch", "deployment", "web", "--dry-run=server", "-p", '{"spec":{"replicas":9}}')),
)


def webhook_configuration(name: str, port: int, authority: Path) -> dict[str, Any]:
    """Return a ValidatingWebhookConfiguration that shows everything to a server on this machine."""
    webhook = {
        "name": name,
        "clientConfig": {
            "url": f"https://127.0.0.1:{port}/validate",
            "caBundle": base64.b64encode(authority.read_bytes()).decode(),
        },
        "rules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*/*"]}],
        "failurePolicy": "Ignore",
        "matchPolicy": "Equivalent",
        "sideEffects": "NoneOnDryRun",
        "timeoutSeconds": 2,
        "admissionReviewVersions": ["v1", "v1beta1"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [webhook],
    }


async def start(step: Step, assets: Path, directory: Path) -> ControlPlane:
    """Start a control plane in an empty directory."""
    cluster = ControlPlane(Programs.find(assets), directory)

    def begin() -> str:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        cluster.__enter__()
        return cluster.url

    await step("starting etcd, kube-apiserver and kube-controller-manager", lambda: asyncio.to_thread(begin))
    return cluster


async def drive(step: Step, cluster: ControlPlane, port: int, tls_dir: Path) -> int:
    """Register the webhook and change things with kubectl; return how many entries that leaves at least."""

    def prepare() -> str:
        cluster.kubectl("create", "namespace", NAMESPACE)
        cluster.kubectl("create", "configmap", "settings", "-n", NAMESPACE, "--from-literal=mode=slow")
        cluster.kubectl("apply", "-n", NAMESPACE, "-f", "-", stdin=_json(_DEPLOYMENT))
        cluster.kubectl("apply", "-f", "-", stdin=_json(webhook_configuration(WEBHOOK, port, tls_dir / "ca.crt")))
        return WEBHOOK

    def change() -> str:
        # The API server takes a moment to follow a new webhook configuration.
        _wait_until_called(cluster)
        for user, command in COMMANDS:
            cluster.kubectl(*command, "-n", NAMESPACE, user=user)
        return f"{len(COMMANDS)} commands by alice and admin, none of them disturbed"

    await step("registering the webhook", lambda: asyncio.to_thread(prepare))
    await step("changing things with kubectl", lambda: asyncio.to_thread(change))
    return len(COMMANDS)


def _wait_until_called(cluster: ControlPlane) -> None:
    for number in range(100):
        cluster.kubectl("annotate", "namespace", "default", f"probe={number}", "--overwrite")
        if cluster.metrics("apiserver_admission_webhook_admission_duration_seconds"):
            return


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.encode(document).decode()
