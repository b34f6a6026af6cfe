"""Registers a validating webhook in a control plane and waits until the API server really calls it."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from app.cli.controlplane import ControlPlane

T = TypeVar("T")

PATIENCE_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05

ALL_RESOURCES: Final = ("*/*",)
"""Every resource and every subresource."""

DURATION: Final = "apiserver_admission_webhook_admission_duration_seconds"
FAIL_OPEN: Final = "apiserver_admission_webhook_fail_open_count"
REQUESTS: Final = "apiserver_admission_webhook_request_total"


def eventually(attempt: Callable[[], T | None], what: str, *, seconds: float = PATIENCE_SECONDS) -> T:
    """Return the first truthy result of `attempt`, which is tried for so many seconds."""
    deadline = time.monotonic() + seconds
    while not (result := attempt()):
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(POLL_SECONDS)
    return result


def calls(cluster: ControlPlane, webhook: str) -> float:
    """How often the API server says that it has called the webhook of this full name."""
    samples = cluster.metrics(DURATION)
    return sum(
        sample.value for sample in samples if sample.name == f"{DURATION}_count" and sample.labels["name"] == webhook
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One webhook of one configuration, both called `<name>.kubewitness.svc`."""

    name: str
    port: int
    authority: Path
    resources: Sequence[str] = ALL_RESOURCES
    failure_policy: str = "Ignore"
    timeout_seconds: int = 2
    namespace_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def full_name(self) -> str:
        return f"{self.name}.kubewitness.svc"

    def manifest(self) -> dict[str, Any]:
        rule = {"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": list(self.resources)}
        webhook = {
            "name": self.full_name,
            "clientConfig": {
                "url": f"https://127.0.0.1:{self.port}/validate",
                "caBundle": base64.b64encode(self.authority.read_bytes()).decode(),
            },
            "rules": [rule],
            "namespaceSelector": {"matchLabels": dict(self.namespace_labels)},
            "failurePolicy": self.failure_policy,
            "matchPolicy": "Equivalent",
            "sideEffects": "NoneOnDryRun",
            "timeoutSeconds": self.timeout_seconds,
            "admissionReviewVersions": ["v1", "v1beta1"],
        }
        return {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": self.full_name},
            "webhooks": [webhook],
        }

    def calls(self, cluster: ControlPlane) -> float:
        """How often the API server says that it has called this webhook."""
        return calls(cluster, self.full_name)

    def register(self, cluster: ControlPlane, *, namespace: str = "default") -> None:
        """Return when a change of a ConfigMap in `namespace` has been shown to the webhook."""
        cluster.kubectl("apply", "-f", "-", stdin=msgspec.json.encode(self.manifest()).decode())
        cluster.kubectl("create", "configmap", "probe", "-n", namespace)

        def probed() -> bool:
            patch = f'{{"data":{{"at":"{time.monotonic_ns()}"}}}}'
            cluster.kubectl("patch", "configmap", "probe", "-n", namespace, "--type=merge", "-p", patch)
            return self.calls(cluster) > 0

        eventually(probed, f"the API server calls {self.full_name}")
