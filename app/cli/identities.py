"""The files of a throwaway control plane's identities: certificates, keys and kubeconfigs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.tls.issue import KeyPair, issue_authority, issue_identity

LIFETIME: Final = timedelta(days=7)
"""Longer than any throwaway control plane lives."""

USERS: Final[Mapping[str, str]] = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "alice": "dev-team",
}
"""Who can talk to the API server, and the group that their certificate names."""

SERVER_NAMES: Final = ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")


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
    now = datetime.now(UTC)
    authority = issue_authority("control-plane", now=now, lifetime=LIFETIME)
    identities.authority.write_bytes(authority.certificate_pem)
    _write_server(identities, authority, addresses, now)
    _write_private(identities.key("service-accounts"), _service_account_key())
    for user, group in USERS.items():
        _write_pair(identities, user, issue_identity(authority, user, group=group, now=now, lifetime=LIFETIME))
        _write_kubeconfig(identities, user, url)
    return identities


def _write_server(identities: Identities, authority: KeyPair, addresses: Sequence[str], now: datetime) -> None:
    # The API server also calls others under this identity.
    pair = issue_identity(
        authority, "apiserver", dns_names=SERVER_NAMES, ip_addresses=addresses, now=now, lifetime=LIFETIME
    )
    _write_pair(identities, "apiserver", pair)


def _write_pair(identities: Identities, name: str, pair: KeyPair) -> None:
    identities.certificate(name).write_bytes(pair.certificate_pem)
    _write_private(identities.key(name), pair.private_key_pem)


def _service_account_key() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        # The form that every release reads.
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _write_private(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)


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
