"""The certificate of the admission port where the installation signs it itself."""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta
from typing import Final

from app.bootstrap.installation import Installation
from app.bootstrap.process import Background, every
from app.kube.bells import registration_watch, secret_watch
from app.kube.installation import RegistrationObject
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.tls.managed import ManagedCertificates, Observer
from app.tls.rotation import Terms
from app.tls.serving import Serving
from app.tls.upkeep import Upkeep
from app.web.health import Check

_LOOKS: Final = 30
"""Looks per life of a leaf whether it is to be renewed: the time for that is a third of its life."""

_LONGEST_PAUSE: Final = 30.0


class _Observer(Observer):
    """Counts what happens to certificates."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def served(self, not_after: datetime) -> None:
        self._metrics.certificate_expiry.set(not_after.timestamp())

    def authority(self, not_after: datetime) -> None:
        self._metrics.authority_expiry.set(not_after.timestamp())

    def rotated(self) -> None:
        self._metrics.authority_rotations.inc()

    def repaired(self) -> None:
        self._metrics.bundle_repairs.inc()


class OwnCertificate:
    """A leaf of the authority in the installation's Secret; see AdmissionCertificate."""

    def __init__(self, settings: Settings, metrics: Metrics, installation: Installation) -> None:
        metrics.signing()
        self._settings = settings
        self._installation = installation
        self._serving = Serving()
        self._registration = RegistrationObject(installation.api, settings.webhook_configuration)
        self._managed = ManagedCertificates(
            installation.secret,
            self._registration,
            serving=self._serving,
            names=_names(settings.tls_service, installation.secret.namespace),
            terms=_terms(settings),
            observer=_Observer(metrics),
            keep=installation.shared,
        )
        self._upkeep = Upkeep(
            self._managed.look, wait=lambda: self._managed.wait, tell=self._managed.tell, what="certificates"
        )

    @property
    def context(self) -> ssl.SSLContext:
        """See AdmissionCertificate."""
        return self._serving.context

    async def open(self) -> None:
        """See AdmissionCertificate."""
        await self._upkeep.until(lambda: self._managed.leaf is not None)

    def start(self, background: Background) -> None:
        """See AdmissionCertificate."""
        api, ring = self._installation.api, self._upkeep.ring
        background.start(self._upkeep.run(), "certificates")
        background.start(every(min(self._settings.tls_leaf_seconds / _LOOKS, _LONGEST_PAUSE), self._renew), "renewal")
        background.start(secret_watch(api, self._installation.secret, ring).run(), "secret watch")
        background.start(registration_watch(api, self._registration.name, ring).run(), "webhook configuration watch")

    def check(self) -> Check:
        """See AdmissionCertificate."""
        verdict = self._managed.verdict()
        return Check(verdict.state, verdict.message)

    async def _renew(self) -> None:
        self._managed.renew()


def _terms(settings: Settings) -> Terms:
    return Terms(
        leaf=timedelta(seconds=settings.tls_leaf_seconds),
        authority=timedelta(seconds=settings.tls_authority_seconds),
        overlap=timedelta(seconds=settings.tls_overlap_seconds),
    )


def _names(service: str, namespace: str) -> list[str]:
    """Return the name by which API servers call, `<service>.<namespace>.svc`, and the one that Pods may use."""
    return [f"{service}.{namespace}.svc", f"{service}.{namespace}.svc.cluster.local"]
