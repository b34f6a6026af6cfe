"""What a replica serves, which authority signs it, and when it is renewed. Pure but for the keys of new leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509

from app.tls.authorities import Authority, Certificates
from app.tls.issue import CLOCK_SKEW, KeyPair, issue_leaf
from app.tls.rotation import REMAINDER


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A certificate of a server, its own key, and the authority that signed it."""

    pair: KeyPair
    signer: Authority
    signed: datetime
    not_after: datetime

    @property
    def renewal(self) -> datetime:
        """When a third of its life is left."""
        return self.not_after - (self.not_after - self.signed) / REMAINDER


@dataclass(frozen=True, slots=True)
class Sightings:
    """Since when, in monotonic seconds, each certificate was seen in the `caBundle` without interruption."""

    since: Mapping[x509.Certificate, float] = field(default_factory=dict)

    def after(self, seen: Certificates, moment: float) -> Sightings:
        """Return the sightings after one more look, which saw these and no others."""
        return Sightings({each: self.since.get(each, moment) for each in seen})

    def lasted(self, certificate: x509.Certificate, moment: float) -> timedelta | None:
        """Return for how long a certificate has been there, None if it is not."""
        since = self.since.get(certificate)
        return None if since is None else timedelta(seconds=moment - since)


def sign(authority: Authority, names: Sequence[str], *, now: datetime, lifetime: timedelta) -> Leaf:
    """Return a new leaf with a key of its own, for these names; it does not outlive the authority.

    Raises CertificateError if the authority has expired.
    """
    pair = issue_leaf(authority.pair, dns_names=names, ip_addresses=[], now=now, lifetime=lifetime)
    return Leaf(pair=pair, signer=authority, signed=now, not_after=pair.not_after)


def is_due(leaf: Leaf, *, now: datetime, lifetime: timedelta) -> bool:
    """Whether a new leaf of the same authority should take its place, and would last longer.

    Or would be valid already: a leaf that was signed before the clock was set back is not, for as long as that was.
    """
    if now < leaf.signed - CLOCK_SKEW:
        return True
    return now >= leaf.renewal and min(now + lifetime, leaf.signer.not_after) > leaf.not_after


def choose_signer(
    leaf: Leaf | None,
    current: Authority,
    sightings: Sightings,
    *,
    moment: float,
    overlap: timedelta,
    now: datetime,
) -> Authority:
    """Return the authority whose leaf is to be served: the current one, as soon as API servers know it.

    Until they had `overlap` to learn of it, a leaf that they trust stays, such as when a damaged authority had to be
    replaced at once. A leaf that they do not trust, or that must be renewed, is exchanged without waiting.
    """
    if leaf is None or leaf.signer.certificate == current.certificate:
        return current
    known = sightings.lasted(current.certificate, moment)
    if known is not None and known >= overlap:
        return current
    trusted = sightings.lasted(leaf.signer.certificate, moment) is not None
    if trusted and now < leaf.renewal:
        return leaf.signer
    return current if known is not None or not trusted or now >= leaf.not_after else leaf.signer
