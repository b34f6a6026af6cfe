"""What is registered with an API server: which webhooks validate which changes, and how they are reached.

From https://kubernetes.io/docs/reference/kubernetes-api/extend-resources/validating-webhook-configuration-v1/.
"""

from __future__ import annotations

import asyncio
from typing import Final, TypeVar

import msgspec

from app.kube.client import KubernetesApi
from app.kube.errors import ApiError

CONFIGURATIONS: Final = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
DOMAIN: Final = ".kubewitness.svc"
"""What the names of our own webhooks end in, whatever the configuration is called that holds them."""

_AGAIN_SECONDS: Final = 0.25

T = TypeVar("T")


class Rule(msgspec.Struct, frozen=True, rename="camel"):
    """Which changes are shown; `*` is any word, `*/*` any resource with its subresources."""

    operations: tuple[str, ...] = ()
    api_groups: tuple[str, ...] = ()
    api_versions: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    scope: str = "*"

    def covers(self, operation: str, group: str, resource: str) -> bool:
        """Say whether it is a rule for this operation on objects of this resource, not on a subresource."""
        return (
            not {"*", operation}.isdisjoint(self.operations)
            and not {"*", group}.isdisjoint(self.api_groups)
            and not {"*", "*/*", f"{resource}/*", resource}.isdisjoint(self.resources)
        )


class Requirement(msgspec.Struct, frozen=True):
    """One requirement on labels."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def holds(self, labels: dict[str, str]) -> bool:
        """Say whether labels meet it."""
        is_in = labels.get(self.key) in self.values
        met = {"In": is_in, "NotIn": not is_in, "Exists": self.key in labels, "DoesNotExist": self.key not in labels}
        return met.get(self.operator, True)


class Selector(msgspec.Struct, frozen=True, rename="camel"):
    """A label selector; an empty one selects everything."""

    match_labels: dict[str, str] = {}
    match_expressions: tuple[Requirement, ...] = ()

    def selects(self, labels: dict[str, str]) -> bool:
        """Say whether something with these labels is selected."""
        return self.match_labels.items() <= labels.items() and all(
            each.holds(labels) for each in self.match_expressions
        )


class ServiceReference(msgspec.Struct, frozen=True):
    """The Service behind which a webhook is."""

    namespace: str
    name: str
    path: str = "/"
    port: int = 443


class ClientConfig(msgspec.Struct, frozen=True, rename="camel"):
    """How the API server reaches a webhook, and whom it trusts there (PEM)."""

    url: str = ""
    service: ServiceReference | None = None
    ca_bundle: bytes = b""

    def __str__(self) -> str:
        found = self.service
        return f"service {found.namespace}/{found.name}:{found.port}{found.path}" if found else self.url


class Condition(msgspec.Struct, frozen=True):
    """A CEL expression that must hold, too."""

    name: str
    expression: str


class Webhook(msgspec.Struct, frozen=True, rename="camel"):
    """One webhook."""

    name: str
    client_config: ClientConfig
    rules: tuple[Rule, ...] = ()
    namespace_selector: Selector = Selector()
    failure_policy: str = "Fail"
    timeout_seconds: int = 10
    match_conditions: tuple[Condition, ...] = ()


class Metadata(msgspec.Struct, frozen=True):
    """What is read of its metadata."""

    name: str
    finalizers: tuple[str, ...] = ()


class Configuration(msgspec.Struct, frozen=True):
    """A ValidatingWebhookConfiguration."""

    metadata: Metadata
    webhooks: tuple[Webhook, ...] = ()

    @property
    def own(self) -> tuple[Webhook, ...]:
        """Those of its webhooks that lead to this product."""
        return tuple(webhook for webhook in self.webhooks if webhook.name.endswith(DOMAIN))


class _List(msgspec.Struct):
    items: list[Configuration] = []


async def find(api: KubernetesApi, name: str) -> Configuration | None:
    """Return a configuration, None if there is none of this name; raises ApiError."""
    try:
        return _decoded(await api.get(f"{CONFIGURATIONS}/{name}"), Configuration)
    except ApiError as error:
        if error.is_not_found:
            return None
        raise


async def find_all(api: KubernetesApi) -> list[Configuration]:
    """Return the configurations that lead to this product; raises ApiError."""
    found = _decoded(await api.get(CONFIGURATIONS), _List).items
    return [each for each in found if each.own]


async def remove(api: KubernetesApi, name: str) -> None:
    """Delete a configuration and return when it is gone; raises ApiError where that is refused.

    What may pass, such as an API server that restarts, is waited for without end.
    """
    while True:
        try:
            await api.send("DELETE", f"{CONFIGURATIONS}/{name}", b"")
        except ApiError as error:
            if error.is_not_found:
                return
            if not (error.is_temporary or error.is_conflict):
                raise
        await asyncio.sleep(_AGAIN_SECONDS)


def _decoded(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(f"GET {CONFIGURATIONS}: the answer cannot be read: {error}") from error
