"""Whether API servers trust what is served, as far as the webhook configuration tells that was read last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cryptography import x509

from app.kube.errors import ApiError
from app.kube.installation import Registration
from app.kube.webhooks import DOMAIN
from app.tls.authorities import Certificates, certificates
from app.tls.check import is_issued_by


@dataclass(frozen=True, slots=True)
class Verdict:
    """What `/readyz` says; the states are those of its checks."""

    state: Literal["ok", "degraded", "unavailable"]
    message: str = ""


class Trust:
    """Keeps what was read last of a ValidatingWebhookConfiguration, and judges certificates by it.

    `is_kept` says that this program writes the caBundle. Where somebody else does, not being allowed to read it is no
    reason to take no reviews.
    """

    def __init__(self, name: str, *, is_kept: bool) -> None:
        self._what = f"ValidatingWebhookConfiguration {name}"
        self._is_kept = is_kept
        self._was_read = False
        self._found: Registration | None = None
        self._certificates: tuple[Certificates, ...] = ()
        self._error = ""
        self._judged: tuple[bytes, bool] | None = None

    def saw(self, found: Registration | None) -> None:
        """Take what was read, None if there is no such configuration."""
        self._was_read, self._found, self._error, self._judged = True, found, "", None
        bundles = found.bundles if found is not None else ()
        self._certificates = tuple(frozenset(certificates(bundle)) for bundle in bundles)

    def failed(self, error: ApiError) -> None:
        """Take note that it could not be read."""
        self._error = str(error)

    @property
    def seen(self) -> Certificates:
        """What every one of our webhooks trusts."""
        return frozenset[x509.Certificate].intersection(*self._certificates) if self._certificates else frozenset()

    def verdict(self, chain_pem: bytes) -> Verdict:
        """Say whether API servers trust the certificate, which stands first in the chain that is served with it."""
        if not self._was_read:
            return self._unknown()
        if problem := self._problem(chain_pem):
            return Verdict("unavailable", f"{problem}. {self._error}".removesuffix(". "))
        return Verdict("degraded", f"what was read last may be old: {self._error}") if self._error else Verdict("ok")

    def _unknown(self) -> Verdict:
        waiting = f"{self._what} has not been read yet"
        return Verdict("unavailable" if self._is_kept else "degraded", self._error or waiting)

    def _problem(self, chain_pem: bytes) -> str:
        if self._found is None:
            return f"there is no {self._what}, so API servers show us nothing: `helm upgrade` restores it"
        if not self._certificates:
            return f"{self._what} has no webhook whose name ends in {DOMAIN}: `helm upgrade` restores it"
        if self._trusts(chain_pem):
            return ""
        writer = self._found.bundle_writer
        last = f", written last by {writer}," if writer and not self._is_kept else ""
        return (
            f"the caBundle of {self._what}{last} does not hold the authority that signed the served certificate, so "
            f"API servers refuse it: {self._remedy()}"
        )

    def _remedy(self) -> str:
        if self._is_kept:
            return "it is being written again"
        return "put the authority there that signed tls.crt, or serve a certificate that the one there has signed"

    def _trusts(self, chain_pem: bytes) -> bool:
        if self._judged is None or self._judged[0] != chain_pem:
            chain = certificates(chain_pem)
            self._judged = chain_pem, all(leads_to(chain, trusted) for trusted in self._certificates)
        return self._judged[1]


def leads_to(chain: Sequence[x509.Certificate], trusted: Certificates) -> bool:
    """Whether the first certificate is trusted: itself, or by way of the others, whatever their order."""
    if not chain:
        return False
    subject, *others = chain
    if subject in trusted or any(is_issued_by(subject, each) for each in trusted):
        return True
    issuers = [each for each in others if is_issued_by(subject, each)]
    return any(leads_to([each, *(other for other in others if other != each)], trusted) for each in issuers)
