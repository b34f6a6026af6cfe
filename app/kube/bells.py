"""Watches of a single object that tell no more than that it may have changed: who hears of it reads it anew."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from app.kube.client import KubernetesApi
from app.kube.handling import ChangeKind
from app.kube.installation import InstallationSecret
from app.kube.watching import Watch
from app.kube.webhooks import CONFIGURATIONS


class _Bell:
    """Hears of every change of what a watch shows, and tells no more than that."""

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring

    def begin(self) -> None:
        """See Handler."""

    def listed(self, item: msgspec.Raw) -> None:
        """See Handler."""

    def end(self) -> None:
        """See Handler."""
        self._ring()

    def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
        """See Handler."""
        self._ring()


def secret_watch(api: KubernetesApi, secret: InstallationSecret, ring: Callable[[], None]) -> Watch:
    """Return a watch that rings when the Secret may have changed; to be run."""
    return Watch(api, secret.folder, _Bell(ring), name="secret", field_selector=f"metadata.name={secret.name}")


def registration_watch(api: KubernetesApi, name: str, ring: Callable[[], None]) -> Watch:
    """Return a watch that rings when the ValidatingWebhookConfiguration may have changed; to be run."""
    selector = f"metadata.name={name}"
    return Watch(api, CONFIGURATIONS, _Bell(ring), name="webhook configuration", field_selector=selector)
