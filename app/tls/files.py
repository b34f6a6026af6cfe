"""Keeps key pairs in a directory under the names of a kubernetes.io/tls Secret, and makes them for development."""

from __future__ import annotations

import os
import shlex
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509

from app.tls.check import Sources, check_authority, check_pair, is_issued_by
from app.tls.errors import CertificateError
from app.tls.issue import (
    LEAF_LIFETIME,
    KeyPair,
    alternative_names,
    issue_authority,
    issue_leaf,
)

DEV_DNS_NAMES: Final = (
    "localhost",
    "kubewitness",
    "kubewitness.kubewitness.svc",
    "kubewitness.kubewitness.svc.cluster.local",
)
DEV_IP_ADDRESSES: Final = ("127.0.0.1", "::1")
DEV_AUTHORITY_NAME: Final = "kubewitness development CA"
DEV_RENEW_BEFORE: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """Where a certificate and its private key lie."""

    certificate: Path
    private_key: Path

    @classmethod
    def of_leaf(cls, directory: Path) -> CertificateFiles:
        """Name what the server serves; `tls.crt` and `tls.key` are the keys of a kubernetes.io/tls Secret."""
        return cls(directory / "tls.crt", directory / "tls.key")

    @classmethod
    def of_authority(cls, directory: Path) -> CertificateFiles:
        """Name what signs leaves; the server never reads it."""
        return cls(directory / "ca.crt", directory / "ca.key")

    @property
    def sources(self) -> Sources:
        """The files as messages name them."""
        return Sources(certificate=str(self.certificate), private_key=str(self.private_key))

    def exist(self) -> bool:
        """Whether either file is there."""
        return _is_there(self.certificate) or _is_there(self.private_key)

    def read(self) -> KeyPair:
        """Return what the files hold, unchecked; raises CertificateError if one cannot be read."""
        return KeyPair(certificate_pem=_read(self.certificate), private_key_pem=_read(self.private_key))

    def write(self, pair: KeyPair) -> None:
        """Replace each file in one step, the key (mode 0600) first; raises CertificateError if it cannot be."""
        _write(self.private_key, pair.private_key_pem, mode=0o600)
        _write(self.certificate, pair.certificate_pem, mode=0o644)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevCertificates:
    """What `init_certificates` left in a directory."""

    authority: KeyPair
    authority_is_new: bool
    leaf: KeyPair


def read_serving_pair(directory: Path, *, now: datetime) -> KeyPair:
    """Return the directory's `tls.crt` and `tls.key`, which belong together and are valid at `now`.

    Raises CertificateError that names the file, what is wrong with it, and the command that makes new ones.
    """
    files = CertificateFiles.of_leaf(directory)
    try:
        pair = files.read()
        check_pair(pair, now=now, sources=files.sources)
    except CertificateError as error:
        raise CertificateError(f"{error}. For development ones run: {_init_command(directory)}") from error
    return pair


def init_certificates(
    directory: Path,
    *,
    now: datetime,
    dns_names: Sequence[str] = DEV_DNS_NAMES,
    ip_addresses: Sequence[str] = DEV_IP_ADDRESSES,
    lifetime: timedelta = LEAF_LIFETIME,
    force: bool = False,
) -> DevCertificates:
    """Write a new leaf for the names, signed by the directory's authority, which is made if there is none.

    A usable authority is always kept, so that who trusts it need not change. Raises CertificateError, before
    anything is written, if a leaf or an unusable authority is there; `force` replaces both.
    """
    alternative_names(dns_names, ip_addresses)
    files = CertificateFiles.of_leaf(directory)
    if files.exist() and not force:
        raise CertificateError(f"{_existing(files)} exists already; to replace it add --force")
    authority = _authority(directory, now=now, force=force)
    pair = authority or issue_authority(DEV_AUTHORITY_NAME, now=now)
    leaf = issue_leaf(pair, dns_names=dns_names, ip_addresses=ip_addresses, now=now, lifetime=lifetime)
    _make_directory(directory)
    if authority is None:
        CertificateFiles.of_authority(directory).write(pair)
    files.write(leaf)
    return DevCertificates(authority=pair, authority_is_new=authority is None, leaf=leaf)


def ensure_dev_certificates(
    directory: Path,
    *,
    now: datetime,
    dns_names: Sequence[str] = DEV_DNS_NAMES,
    ip_addresses: Sequence[str] = DEV_IP_ADDRESSES,
) -> Path:
    """Return the directory, with an authority and a leaf in it that serve these names for 30 days at least.

    What does so already is kept as it is. Certificates without the `ca.key` of `init_certificates` beside them
    came from elsewhere: CertificateError instead of replacing them.
    """
    names = alternative_names(dns_names, ip_addresses)
    if _is_served(directory, names, until=now + DEV_RENEW_BEFORE):
        return directory
    leaf, authority = CertificateFiles.of_leaf(directory), CertificateFiles.of_authority(directory)
    if (leaf.exist() or authority.exist()) and not _is_there(authority.private_key):
        raise CertificateError(
            f"{directory} holds certificates that were made elsewhere and do not serve "
            f"{', '.join([*dns_names, *ip_addresses])}; name another directory, or replace them: "
            f"{_init_command(directory)}"
        )
    init_certificates(directory, now=now, dns_names=dns_names, ip_addresses=ip_addresses, force=True)
    return directory


def _is_served(directory: Path, names: Sequence[x509.GeneralName], *, until: datetime) -> bool:
    try:
        leaf = read_serving_pair(directory, now=until).certificate
        authority = CertificateFiles.of_authority(directory).read()
        check_authority(authority, now=until, sources=CertificateFiles.of_authority(directory).sources)
    except CertificateError:
        return False
    return is_issued_by(leaf, authority.certificate) and set(names) <= _names(leaf)


def _names(certificate: x509.Certificate) -> set[x509.GeneralName]:
    with suppress(x509.ExtensionNotFound):
        return set(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    return set()


def _authority(directory: Path, *, now: datetime, force: bool) -> KeyPair | None:
    """Return the directory's authority, or None if there is none or (with `force`) none that can be used."""
    files = CertificateFiles.of_authority(directory)
    if not files.exist():
        return None
    try:
        pair = files.read()
        check_authority(pair, now=now, sources=files.sources)
    except CertificateError as error:
        if force:
            return None
        raise CertificateError(
            f"{error}; to replace the authority add --force, then give the new ca.crt to all who trust the old one"
        ) from error
    return pair


def _existing(files: CertificateFiles) -> Path:
    return files.certificate if _is_there(files.certificate) else files.private_key


def _init_command(directory: Path) -> str:
    force = " --force" if CertificateFiles.of_leaf(directory).exist() else ""
    return f"kubewitness certs init --dir {shlex.quote(str(directory))}{force}"


def _is_there(path: Path) -> bool:
    """Whether the name is taken, be it by a link to nowhere; unlike Path.exists, it never raises."""
    return os.path.lexists(path)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise CertificateError(f"{path} is missing") from error
    except OSError as error:
        raise CertificateError(f"{path} cannot be read: {error.strerror}") from error


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CertificateError(f"{directory} cannot be made: {error.strerror}") from error


def _write(path: Path, content: bytes, *, mode: int) -> None:
    try:
        _replace(path, content, mode=mode)
    except OSError as error:
        raise CertificateError(f"{path} cannot be written: {error.strerror}") from error


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    # The suffix keeps even what a crash leaves behind under the patterns that keep keys out of git.
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=path.name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            os.fchmod(descriptor, mode)
            file.flush()
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
