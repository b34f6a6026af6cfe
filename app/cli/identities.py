"""Certificates, keys and kubeconfigs of a throwaway control plane.

Kept apart from `app.tls`, which issues the product's server certificates: an API server reads from a client's
certificate who it is, the common name being the user and the organization the group.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME: Final = timedelta(days=7)
"""Longer than any throwaway control plane lives."""

CLOCK_SKEW: Final = timedelta(minutes=5)

USERS: Final[Mapping[str, str]] = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "alice": "dev-team",
}
"""Who can talk to the API server, and the group that their certificate names."""

SERVER_NAMES: Final = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """The certificate authority that the API server and its clients trust."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Identities:
    """Where the files of one control plane are; everything private is readable by its owner alone."""

    directory: Path

    @property
    def authority(self) -> Path:
        """The authority's certificate, PEM."""
        return self.directory / "ca.crt"

    def certificate(self, name: str) -> Path:
        """Return where the certificate (PEM) of a user, or of `apiserver`, is."""
        return self.directory / f"{name}.crt"

    def key(self, name: str) -> Path:
        """Return where the private key (PEM) of a user, of `apiserver`, or of `service-accounts`, is."""
        return self.directory / f"{name}.key"

    def kubeconfig(self, user: str) -> Path:
        """Return where the kubeconfig of a user is."""
        return self.directory / f"{user}.kubeconfig"


def write_identities(directory: Path, *, url: str, addresses: Sequence[str]) -> Identities:
    """Write everything that a control plane at `url` and its users need; `addresses` are its IP addresses."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    identities = Identities(directory=directory)
    authority = _authority()
    identities.authority.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    _write_leaf(identities, authority, "apiserver", addresses=addresses)
    _write_key(identities.key("service-accounts"), ec.generate_private_key(ec.SECP256R1()))
    for user, group in USERS.items():
        _write_leaf(identities, authority, user, group=group)
        _write_kubeconfig(identities, user, url)
    return identities


def _name(common_name: str, organization: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organization:
        attributes.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization))
    return x509.Name(attributes)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _authority() -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("control-plane")
    builder = (
        _builder(name, name, key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_signing_usage(), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(certificate=builder.sign(key, hashes.SHA256()), key=key)


def _signing_usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        key_cert_sign=True,
        crl_sign=True,
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _write_leaf(
    identities: Identities, authority: Authority, name: str, *, group: str = "", addresses: Sequence[str] = ()
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    builder = (
        _builder(_name(name, group), authority.certificate.subject, key)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(signer, critical=False)
    )
    if addresses:
        builder = builder.add_extension(_alternative_names(addresses), critical=False)
    certificate = builder.sign(authority.key, hashes.SHA256())
    identities.certificate(name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    _write_key(identities.key(name), key)


def _alternative_names(addresses: Sequence[str]) -> x509.SubjectAlternativeName:
    names: list[x509.GeneralName] = [x509.DNSName(name) for name in SERVER_NAMES]
    names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    return x509.SubjectAlternativeName(names)


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            # The form that every release reads, also for service-account keys.
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )


def _write_kubeconfig(identities: Identities, user: str, url: str) -> None:
    credentials = {
        "client-certificate": str(identities.certificate(user)),
        "client-key": str(identities.key(user)),
    }
    cluster = {"server": url, "certificate-authority": str(identities.authority)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "local", "context": {"cluster": "local", "user": user}}],
        "current-context": "local",
    }
    # JSON is YAML, and needs no quoting rules for odd paths.
    identities.kubeconfig(user).write_bytes(msgspec.json.encode(document))
