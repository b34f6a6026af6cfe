"""Why a change was not recorded, as far as the API server tells: what is registered, and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from app.kube.client import KubernetesApi
from app.kube.errors import ApiError
from app.kube.webhooks import Configuration, Webhook, find_all

CALLS: Final = "apiserver_admission_webhook_admission_duration_seconds"
FAIL_OPEN: Final = "apiserver_admission_webhook_fail_open_count"
"""What the API server counts of each webhook (k8s.io/apiserver, pkg/admission/metrics); the second since 1.24."""

_NAME_LABEL: Final = "kubernetes.io/metadata.name"
"""The label that every namespace has since Kubernetes 1.21."""

_NOT_READ: Final = (
    "this user may not read what is registered; as somebody who may: kubewitness webhook show;"
    " the release's own namespace is never shown: if it is this one, name another with --namespace"
)
_MAKE_AGAIN: Final = "helm upgrade, with the release's own chart and values, puts it right"


class _Metadata(msgspec.Struct):
    labels: dict[str, str] = {}


class _Namespace(msgspec.Struct):
    metadata: _Metadata


async def registration_hints(api: KubernetesApi, namespace: str) -> list[str]:
    """Return what is registered for a namespace and what the API server counts of it, as far as they may be read."""
    try:
        configurations = await find_all(api)
    except ApiError as error:
        return [_NOT_READ if error.is_forbidden else str(error)]
    labels = await _labels(api, namespace)
    names = [webhook.name for each in configurations for webhook in each.own]
    return [*registration_troubles(configurations, labels, datetime.now(UTC)), *await _counts(api, names)]


async def _labels(api: KubernetesApi, namespace: str) -> Mapping[str, str]:
    try:
        found = msgspec.json.decode(await api.get(f"/api/v1/namespaces/{namespace}"), type=_Namespace)
    except (ApiError, msgspec.DecodeError):
        return {_NAME_LABEL: namespace}
    return found.metadata.labels


async def _counts(api: KubernetesApi, names: Sequence[str]) -> list[str]:
    try:
        metrics = (await api.get("/metrics")).decode(errors="replace")
    except ApiError:
        return []
    return list(fail_open_trouble(metrics, names))


def authorities(bundle: bytes) -> list[x509.Certificate]:
    """Return the certificates of a caBundle; raises ValueError where it is none."""
    return x509.load_pem_x509_certificates(bundle) if bundle.strip() else []


def registration_troubles(
    configurations: Iterable[Configuration], labels: Mapping[str, str], now: datetime
) -> Iterator[str]:
    """Yield what keeps updates of ConfigMaps in a namespace of these labels from being shown, or that nothing does."""
    found = [(each.metadata.name, webhook) for each in configurations for webhook in each.own]
    if not found:
        yield f"no webhook is registered: the API server asks nobody; {_MAKE_AGAIN}"
    for name, webhook in found:
        place = f"webhook configuration {name}, {webhook.name}"
        troubles = list(_troubles(webhook, labels, now))
        yield from (f"{place}: {trouble}" for trouble in troubles)
        if not troubles:
            yield f"{place}: its rules cover the change, and its caBundle holds an authority"


def _troubles(webhook: Webhook, labels: Mapping[str, str], now: datetime) -> Iterator[str]:
    if not any(rule.covers("UPDATE", "", "configmaps") for rule in webhook.rules):
        yield "no rule covers the update of ConfigMaps; the values webhook.* of the chart say which there are"
    if not webhook.namespace_selector.selects(dict(labels)):
        yield (
            "its namespaceSelector leaves this namespace out, as it does the release's own:"
            " name another with --namespace"
        )
    if trouble := bundle_trouble(webhook.client_config.ca_bundle, now):
        yield trouble


def bundle_trouble(bundle: bytes, now: datetime) -> str:
    """Return what is wrong with a caBundle, or nothing."""
    try:
        found = authorities(bundle)
    except ValueError:
        return "its caBundle cannot be read, so the API server trusts nobody"
    if not found:
        return "its caBundle is empty, so the API server does not trust the server; /readyz says who should fill it"
    if all(each.not_valid_after_utc <= now for each in found):
        return f"all of its caBundle has expired, the last one on {max(e.not_valid_after_utc for e in found):%Y-%m-%d}"
    return ""


def fail_open_trouble(metrics: str, names: Iterable[str]) -> Iterator[str]:
    """Yield what an API server's own metrics say of webhooks with these names."""
    lines = [line for line in metrics.splitlines() if line.removeprefix("# TYPE ").startswith((CALLS, FAIL_OPEN))]
    samples = [sample for family in text_string_to_metric_families("\n".join(lines)) for sample in family.samples]
    for name in names:
        of_this = [each for each in samples if each.labels.get("name") == name]
        called = sum(each.value for each in of_this if each.name == f"{CALLS}_count")
        open_ = sum(each.value for each in of_this if each.name.startswith(FAIL_OPEN) and "_created" not in each.name)
        yield _counted(name, int(called), int(open_))


def _counted(name: str, called: int, failed_open: int) -> str:
    if failed_open:
        return (
            f"the API server went on without {name} {failed_open} times: it could not reach it or did not trust it"
            " within the webhook's timeout (firewalls between the control plane and the nodes' port 10250,"
            " NetworkPolicies, caBundle)"
        )
    if called:
        return (
            f"the API server called {name} {called} times and counts no call that failed"
            " (before Kubernetes 1.24 it counts none, but logs: failing open)"
        )
    return (
        f"the API server has not called {name} yet: the rules or the namespaceSelector leave the change out,"
        " or it learned of them a moment ago"
    )
