"""Says whether certificates and keys can be used, in words for people. Pure: PEM and times in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes

from app.tls.errors import CertificateError
from app.tls.issue import KeyPair

_BEGIN: Final = b"-----BEGIN "
_END: Final = b"-----END "


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What messages call the two halves of a key pair: usually the files that they were read from."""

    certificate: str
    private_key: str


def check_pair(pair: KeyPair, *, now: datetime, sources: Sources) -> None:
    """Raise CertificateError unless both halves can be read, belong together, and are valid at `now`."""
    certificate = read_certificate(pair.certificate_pem, sources.certificate)
    if _public_bytes(certificate.public_key()) != _public_half(pair.private_key_pem, sources.private_key):
        raise CertificateError(
            f"{sources.private_key} is not the key of the first certificate in {sources.certificate}: "
            "put the two that belong together there, the server's own certificate first"
        )
    if now > certificate.not_valid_after_utc:
        raise CertificateError(f"{sources.certificate} expired at {_moment(certificate.not_valid_after_utc)}")
    if now < certificate.not_valid_before_utc:
        raise CertificateError(
            f"{sources.certificate} is not valid before {_moment(certificate.not_valid_before_utc)}, "
            f"and this machine's clock says {_moment(now)}"
        )


def check_authority(pair: KeyPair, *, now: datetime, sources: Sources) -> None:
    """Raise CertificateError unless the pair is usable at `now` and may sign certificates."""
    check_pair(pair, now=now, sources=sources)
    if not _may_sign(pair.certificate):
        raise CertificateError(f"{sources.certificate} is not the certificate of an authority: it may not sign others")


def is_issued_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    """Whether the authority's key signed the certificate; validity in time is not looked at."""
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def read_certificate(pem: bytes, source: str) -> x509.Certificate:
    """Return the first certificate; raises CertificateError that says what `source` holds instead."""
    line = _begin_line(pem, b"CERTIFICATE", source)
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as error:
        raise CertificateError(f"{source}, line {line}: the certificate that begins here is damaged") from error


def _public_half(pem: bytes, source: str) -> bytes:
    line = _begin_line(pem, b"PRIVATE KEY", source)
    try:
        return _public_bytes(serialization.load_pem_private_key(pem, password=None).public_key())
    except TypeError as error:
        raise CertificateError(
            f"{source}, line {line}: the private key is encrypted; store it decrypted "
            f"(openssl pkey -in {source}), readable by this program alone"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError(
            f"{source}, line {line}: the private key that begins here is damaged or of an unknown kind"
        ) from error


def _begin_line(pem: bytes, kind: bytes, source: str) -> int:
    """Return the line (from 1) where the PEM block begins; raises CertificateError if there is none."""
    lines = pem.splitlines()
    for number, line in enumerate(lines, start=1):
        if line.startswith(_BEGIN) and kind in line:
            if not any(later.startswith(_END) and kind in later for later in lines[number:]):
                raise CertificateError(f"{source}, line {number}: what begins here has no end; the file is cut off")
            return number
    raise CertificateError(f"{source} {_instead(lines)}, not a PEM {kind.decode().lower()}")


def _instead(lines: list[bytes]) -> str:
    """Name what a file holds, never quoting it: it may be a key."""
    if not any(lines):
        return "is empty"
    for number, line in enumerate(lines, start=1):
        if line.startswith(_BEGIN):
            return f"holds a {_kind(line)} (line {number})"
    return "holds something else"


def _kind(begin: bytes) -> str:
    return begin.removeprefix(_BEGIN).rstrip(b"- ").decode("ascii", "replace").lower()


def _public_bytes(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _may_sign(certificate: x509.Certificate) -> bool:
    extensions = certificate.extensions
    try:
        is_authority = extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        return is_authority and extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return False


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
