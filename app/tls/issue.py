"""Issues certificates: an authority, and the leaves for servers that it signs.

Pure but for the randomness of keys and serial numbers: nothing is read, written or logged. The profile is
that of RFC 5280, so that clients which insist on it (OpenSSL's X509_STRICT, Go) accept the chain.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.tls.errors import CertificateError

AUTHORITY_LIFETIME: Final = timedelta(days=3650)
LEAF_LIFETIME: Final = timedelta(days=365)
CLOCK_SKEW: Final = timedelta(hours=1)
"""How far certificates are backdated: clients with a slower clock must not call a new one "not yet valid".

A clock some minutes ahead of the API server's is no rarity, and what is signed by it would be refused for so long.
"""

# Clients look at the alternative names alone, and a common name has 64 characters at most: too few for some
# Services. The organization keeps the subject apart from any authority's, so that no leaf looks self-issued.
_LEAF_SUBJECT: Final = x509.Name(
    [
        x509.NameAttribute(NameOID.ORGANIZATION_NAME, "kubewitness"),
        x509.NameAttribute(NameOID.COMMON_NAME, "kubewitness server"),
    ]
)
_LABEL: Final = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_DNS_NAME: Final = re.compile(rf"(?:\*\.)?(?:{_LABEL}\.)*{_LABEL}", re.IGNORECASE | re.ASCII)
_DNS_NAME_LENGTH: Final = 253

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A certificate (the leaf first, if it is a chain) and its unencrypted private key, both PEM."""

    certificate_pem: bytes
    private_key_pem: bytes = field(repr=False)

    @property
    def certificate(self) -> x509.Certificate:
        """The first certificate; raises ValueError if it cannot be read."""
        return x509.load_pem_x509_certificate(self.certificate_pem)

    @property
    def not_after(self) -> datetime:
        """The last moment (UTC) at which the first certificate is valid."""
        return self.certificate.not_valid_after_utc


def issue_authority(common_name: str, *, now: datetime, lifetime: timedelta = AUTHORITY_LIFETIME) -> KeyPair:
    """Return a new self-signed authority that may sign leaves, but no other authority."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    certificate = (
        _certificate(name, key.public_key(), not_before=now - CLOCK_SKEW, not_after=now + lifetime)
        .issuer_name(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(sign_certificates=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    return _pair(certificate, key)


def issue_leaf(
    authority: KeyPair,
    *,
    dns_names: Sequence[str],
    ip_addresses: Sequence[str],
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
) -> KeyPair:
    """Return a new server certificate for exactly these names, signed by the authority.

    It never outlives the authority: what remains of the authority's life shortens `lifetime`. Raises
    CertificateError for a name that is none, and for an authority that has expired or cannot sign.
    """
    names = x509.SubjectAlternativeName(alternative_names(dns_names, ip_addresses))
    return _issue(authority, _LEAF_SUBJECT, [ExtendedKeyUsageOID.SERVER_AUTH], names, now=now, lifetime=lifetime)


def issue_identity(
    authority: KeyPair,
    user: str,
    *,
    group: str = "",
    ip_addresses: Sequence[str] = (),
    dns_names: Sequence[str] = (),
    now: datetime,
    lifetime: timedelta = LEAF_LIFETIME,
) -> KeyPair:
    """Return a new certificate that tells an API server who its holder is, for connections in both directions.

    https://kubernetes.io/docs/reference/access-authn-authz/authentication/#x509-client-certificates: the common name
    is the user, the organization the group. Lifetime and errors are those of `issue_leaf`.
    """
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)] if group else []
    subject = x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    names = alternative_names(dns_names, ip_addresses) if dns_names or ip_addresses else []
    extension = x509.SubjectAlternativeName(names) if names else None
    return _issue(authority, subject, usages, extension, now=now, lifetime=lifetime)


def _issue(
    authority: KeyPair,
    subject: x509.Name,
    usages: Sequence[x509.ObjectIdentifier],
    names: x509.SubjectAlternativeName | None,
    *,
    now: datetime,
    lifetime: timedelta,
) -> KeyPair:
    issuer, issuer_key = authority.certificate, _signing_key(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    not_after = min(now + lifetime, issuer.not_valid_after_utc)
    if not_after <= now:
        raise CertificateError(f"the authority expired at {issuer.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    builder = (
        _certificate(subject, key.public_key(), not_before=now - CLOCK_SKEW, not_after=not_after)
        .issuer_name(issuer.subject)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_authority_key_identifier(issuer), critical=False)
    )
    if names is not None:
        builder = builder.add_extension(names, critical=False)
    return _pair(builder.sign(issuer_key, hashes.SHA256()), key)


def alternative_names(dns_names: Sequence[str], ip_addresses: Sequence[str]) -> list[x509.GeneralName]:
    """Return the names as certificates carry them, each once; raises CertificateError for one that is none."""
    names: list[x509.GeneralName] = [x509.DNSName(_dns_name(name)) for name in dns_names]
    names += [x509.IPAddress(_ip_address(address)) for address in ip_addresses]
    if not names:
        raise CertificateError("a certificate needs at least one DNS name or IP address")
    return list(dict.fromkeys(names))


def _dns_name(name: str) -> str:
    if _is_ip_address(name):
        raise CertificateError(f"{name!r} is an IP address, not a DNS name; pass it as an IP address")
    if not name.isascii():
        raise CertificateError(f"{name!r} is not an ASCII DNS name; write it in its xn-- form")
    if len(name) > _DNS_NAME_LENGTH or not _DNS_NAME.fullmatch(name):
        raise CertificateError(f"{name!r} is not a DNS name; write a bare host name such as web.shop.svc")
    return name.lower()


def _ip_address(address: str) -> IPAddress:
    try:
        return ipaddress.ip_address(address)
    except ValueError as error:
        raise CertificateError(
            f"{address!r} is not an IP address; write one such as 127.0.0.1 or ::1, without port or mask"
        ) from error


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _certificate(
    subject: x509.Name, key: ec.EllipticCurvePublicKey, *, not_before: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _key_usage(*, sign_certificates: bool) -> x509.KeyUsage:
    """Usages of an authority, or of a server with an EC key, which signs handshakes and encrypts nothing."""
    return x509.KeyUsage(
        digital_signature=not sign_certificates,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_key_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """Copy the issuer's own identifier: an authority made elsewhere may not have computed it from the key."""
    try:
        identifier = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        raise CertificateError("the authority has no subject key identifier, which RFC 5280 asks for") from None
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _signing_key(authority: KeyPair) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    key = serialization.load_pem_private_key(authority.private_key_pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise CertificateError("the authority's key is neither EC nor RSA")
    return key


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        private_key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
