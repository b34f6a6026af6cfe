"""The authorities of an installation, as its Secret holds them. Pure: texts in, values out, and back.

The keys `ca.crt` and `ca.key` are those of cert-manager, so that people and tools know them. Beside them are `next.crt`
and `next.key`, an authority that does not sign yet, and `previous.crt`, certificates of those that sign no more. Two
annotations: `kubewitness/promoted` is when (RFC 3339) the current one became so, `kubewitness/rotate` is a wish of
somebody to have it replaced.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding

from app.tls.check import Sources, check_authority, read_certificate
from app.tls.errors import CertificateError
from app.tls.issue import KeyPair, issue_leaf

CURRENT: Final = ("ca.crt", "ca.key")
NEXT: Final = ("next.crt", "next.key")
PREVIOUS: Final = "previous.crt"
PROMOTED: Final = "kubewitness/promoted"
ROTATE: Final = "kubewitness/rotate"

Certificates: TypeAlias = frozenset[x509.Certificate]

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)


@dataclass(frozen=True, slots=True)
class Authority:
    """A pair that can sign, and its certificate."""

    pair: KeyPair
    certificate: x509.Certificate

    @property
    def not_after(self) -> datetime:
        """The last moment (UTC) at which it is valid."""
        return self.certificate.not_valid_after_utc


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorities:
    """What the Secret holds. `previous` is in the order of their time; `damage` is what was found unusable, for people.

    Certificates of authorities whose key is lost count as previous: what they signed may still be served.
    """

    current: Authority | None = None
    next: Authority | None = None
    previous: tuple[x509.Certificate, ...] = ()
    promoted: datetime | None = None
    rotation_wanted: bool = False
    damage: str = ""

    @property
    def in_force(self) -> tuple[x509.Certificate, ...]:
        """Every certificate that API servers have to trust now, each once: previous, current, next."""
        signers = [each.certificate for each in (self.current, self.next) if each is not None]
        return tuple(dict.fromkeys([*self.previous, *signers]))

    @property
    def bundle(self) -> bytes:
        """The same as a `caBundle` (PEM)."""
        return pem(self.in_force)


def read_authority(pair: KeyPair, sources: Sources) -> Authority:
    """Return an authority that can sign, valid at this time or not; raises CertificateError that says why it cannot."""
    certificate = read_certificate(pair.certificate_pem, sources.certificate)
    try:
        begin = certificate.not_valid_before_utc
        check_authority(pair, now=begin, sources=sources)
        # There are many reasons why one cannot sign, so it has to show that it can.
        issue_leaf(pair, dns_names=["trial"], ip_addresses=[], now=begin, lifetime=timedelta(seconds=1))
    except _UNREADABLE as error:
        raise CertificateError(f"{sources.certificate} and {sources.private_key} cannot be used") from error
    return Authority(pair, certificate)


def read_secret(contents: Mapping[str, bytes], annotations: Mapping[str, str]) -> Authorities:
    """Return what a Secret holds; what cannot be used is as if it were not there, but for `damage`."""
    current, current_damage = _read_pair(contents, CURRENT)
    following, next_damage = _read_pair(contents, NEXT)
    orphan = certificates(contents.get(CURRENT[0], b""))[:1] if current is None else ()
    return Authorities(
        current=current,
        next=following,
        previous=tuple(dict.fromkeys([*certificates(contents.get(PREVIOUS, b"")), *orphan])),
        promoted=_moment(annotations.get(PROMOTED, "")),
        rotation_wanted=ROTATE in annotations,
        damage=current_damage or next_damage,
    )


def write_contents(held: Authorities, contents: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the contents of a Secret with these authorities; other keys stay as they are."""
    written = {key: value for key, value in contents.items() if key not in (*CURRENT, *NEXT, PREVIOUS)}
    for names, authority in ((CURRENT, held.current), (NEXT, held.next)):
        if authority is not None:
            written |= zip(names, (authority.pair.certificate_pem, authority.pair.private_key_pem), strict=True)
    return written | ({PREVIOUS: pem(held.previous)} if held.previous else {})


def write_annotations(held: Authorities, annotations: Mapping[str, str]) -> dict[str, str]:
    """Return the annotations of a Secret with these authorities; others stay as they are."""
    written = {key: value for key, value in annotations.items() if key not in (PROMOTED, ROTATE)}
    if held.promoted is not None:
        written[PROMOTED] = held.promoted.isoformat(timespec="seconds")
    if held.rotation_wanted:
        written[ROTATE] = annotations.get(ROTATE, "")
    return written


def certificates(text: bytes) -> tuple[x509.Certificate, ...]:
    """Return all certificates of a PEM text; none if any of them cannot be read."""
    try:
        return tuple(x509.load_pem_x509_certificates(text))
    except _UNREADABLE:
        return ()


def pem(certificates: tuple[x509.Certificate, ...]) -> bytes:
    """Return the PEM text of certificates, always the same for the same ones in the same order."""
    return b"".join(each.public_bytes(Encoding.PEM) for each in certificates)


def _read_pair(contents: Mapping[str, bytes], names: tuple[str, str]) -> tuple[Authority | None, str]:
    certificate, private_key = (contents.get(name, b"") for name in names)
    if not (certificate or private_key):
        return None, ""
    pair = KeyPair(certificate_pem=certificate, private_key_pem=private_key)
    try:
        return read_authority(pair, Sources(certificate=names[0], private_key=names[1])), ""
    except CertificateError as error:
        return None, str(error)


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
