"""The certificate of the admission port within a process: out of a folder, or signed by the installation itself."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import structlog

from app.bootstrap.connecting import connected
from app.bootstrap.process import Background
from app.settings import Settings
from app.telemetry.metrics import Metrics
from app.tls.reload import LiveCertificate
from app.web.health import Check

if TYPE_CHECKING:
    from app.tls.trust import Trust

logger = structlog.get_logger(__name__)


class AdmissionCertificate(Protocol):
    """What the admission port shows. `open` makes sure that there is something to show, `start` keeps it so."""

    @property
    def context(self) -> ssl.SSLContext:
        """Stays the same object for life."""
        ...

    async def open(self) -> None:
        """Have a certificate to serve, however long that takes."""
        ...

    def start(self, background: Background) -> None:
        """Renew it from now on."""
        ...

    def check(self) -> Check:
        """Say whether API servers trust what is served."""
        ...


class FileCertificate:
    """What `--tls-dir` holds. Raises CertificateError at once if that cannot be served.

    With `--webhook-configuration` its caBundle is read, to say whether API servers trust what is served.
    """

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self._settings = settings
        self._metrics = metrics
        self._live = LiveCertificate(settings.tls_dir, on_reload=self._count)
        self._trust: Trust | None = None
        self._missing = ""

    @property
    def context(self) -> ssl.SSLContext:
        """See AdmissionCertificate."""
        return self._live.context

    async def open(self) -> None:
        """See AdmissionCertificate."""
        self._count(True)

    def start(self, background: Background) -> None:
        """See AdmissionCertificate."""
        background.start(self._live.watch(), "certificate")
        if self._settings.webhook_configuration:
            self._missing = "the webhook configuration has not been read yet"
            background.start(self._follow_registration(), "webhook configuration")

    def check(self) -> Check:
        """See AdmissionCertificate."""
        if self._live.not_after <= datetime.now(UTC):
            return Check("unavailable", f"the certificate expired at {self._live.not_after.isoformat()}")
        verdict = self._trust.verdict(self._live.pair.certificate_pem) if self._trust is not None else None
        if verdict is not None and verdict.state == "unavailable":
            return Check(verdict.state, verdict.message)
        if self._live.last_error is not None:
            return Check("degraded", f"the changed certificate was refused: {self._live.last_error}")
        if verdict is not None:
            return Check(verdict.state, verdict.message)
        return Check("degraded", self._missing) if self._missing else Check("ok")

    async def _follow_registration(self) -> None:
        from app.bootstrap.registration import follow_registration  # noqa: PLC0415  20 MB that only who asks for it needs
        from app.tls.trust import Trust  # noqa: PLC0415  as above

        while True:
            api = await connected(self._settings.kubeconfig, self._not_followed)
            self._trust = Trust(self._settings.webhook_configuration, is_kept=False)
            try:
                await follow_registration(api, self._settings.webhook_configuration, self._trust)
            finally:
                await api.close()

    def _not_followed(self, error: Exception) -> None:
        self._missing = f"the webhook configuration cannot be read: {error}"
        logger.warning("webhook configuration not followed", action="retry", error=str(error))

    def _count(self, valid: bool) -> None:
        self._metrics.certificate_reloads.labels("success" if valid else "failure").inc()
        self._metrics.certificate_expiry.set(self._live.not_after.timestamp())
