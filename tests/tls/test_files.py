"""Key pairs in files: what is written, what is kept, and what people are told."""

from __future__ import annotations

import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from app.tls.check import is_issued_by
from app.tls.errors import CertificateError
from app.tls.files import (
    CertificateFiles,
    ensure_dev_certificates,
    init_certificates,
    read_serving_pair,
)
from app.tls.issue import KeyPair, issue_authority, issue_leaf

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    init_certificates(tmp_path, now=NOW)
    return tmp_path


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_init_writes_an_authority_and_a_leaf_that_it_signed(tmp_path: Path) -> None:
    init_certificates(tmp_path / "new" / "certs", now=NOW)

    leaf = read_serving_pair(tmp_path / "new" / "certs", now=NOW)
    authority = CertificateFiles.of_authority(tmp_path / "new" / "certs").read()
    assert is_issued_by(leaf.certificate, authority.certificate)
    assert leaf.not_after == NOW + timedelta(days=365)


def test_only_the_four_files_are_left_and_keys_are_their_owners_alone(directory: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}

    assert modes == {"ca.crt": 0o644, "ca.key": 0o600, "tls.crt": 0o644, "tls.key": 0o600}


def test_the_leaf_is_for_this_machine_and_the_service_by_default(directory: Path) -> None:
    certificate = read_serving_pair(directory, now=NOW).certificate

    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == [
        "localhost",
        "kubewitness",
        "kubewitness.kubewitness.svc",
        "kubewitness.kubewitness.svc.cluster.local",
    ]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]


def test_init_never_overwrites_a_leaf_unasked(directory: Path) -> None:
    before = contents(directory)

    with pytest.raises(CertificateError, match=r"tls.crt exists already; to replace it add --force"):
        init_certificates(directory, now=NOW)

    assert contents(directory) == before


def test_a_lonely_key_counts_as_a_leaf(directory: Path) -> None:
    (directory / "tls.crt").unlink()

    with pytest.raises(CertificateError, match=r"tls.key exists already"):
        init_certificates(directory, now=NOW)


def test_force_replaces_the_leaf_and_keeps_the_authority(directory: Path) -> None:
    before = contents(directory)

    made = init_certificates(directory, now=NOW, force=True)

    after = contents(directory)
    assert not made.authority_is_new
    assert (after["ca.crt"], after["ca.key"]) == (before["ca.crt"], before["ca.key"])
    assert after["tls.crt"] != before["tls.crt"]
    assert after["tls.key"] != before["tls.key"]


def _expire(directory: Path) -> None:
    CertificateFiles.of_authority(directory).write(
        issue_authority("old", now=NOW - timedelta(days=2), lifetime=timedelta(days=1))
    )


def _lose_key(directory: Path) -> None:
    (directory / "ca.key").unlink()


def _swap_for_leaf(directory: Path) -> None:
    CertificateFiles.of_authority(directory).write(read_serving_pair(directory, now=NOW))


UNUSABLE_AUTHORITIES = [
    pytest.param(_expire, "ca.crt expired at 2026-11-21", id="expired"),
    pytest.param(_lose_key, "ca.key is missing", id="without key"),
    pytest.param(_swap_for_leaf, "ca.crt is not the certificate of an authority", id="no authority"),
]


@pytest.mark.parametrize(("damage", "message"), UNUSABLE_AUTHORITIES)
def test_an_unusable_authority_is_refused_before_anything_is_written(
    directory: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(directory)
    (directory / "tls.crt").unlink()
    (directory / "tls.key").unlink()
    before = contents(directory)

    with pytest.raises(CertificateError, match=rf"{message}.*; to replace the authority add --force"):
        init_certificates(directory, now=NOW)

    assert contents(directory) == before


@pytest.mark.parametrize(("damage", "message"), UNUSABLE_AUTHORITIES)
def test_force_replaces_an_unusable_authority(directory: Path, damage: Callable[[Path], None], message: str) -> None:
    damage(directory)

    made = init_certificates(directory, now=NOW, force=True)

    assert made.authority_is_new
    assert is_issued_by(read_serving_pair(directory, now=NOW).certificate, made.authority.certificate)


def test_bad_names_leave_the_directory_alone(tmp_path: Path) -> None:
    with pytest.raises(CertificateError, match="not a DNS name"):
        init_certificates(tmp_path / "certs", now=NOW, dns_names=["a b"])

    assert not (tmp_path / "certs").exists()


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(CertificateError, match=r"file/certs cannot be made: Not a directory"):
        init_certificates(tmp_path / "file" / "certs", now=NOW)


def test_a_file_that_cannot_be_written_is_named_and_nothing_else_is_left(tmp_path: Path) -> None:
    (tmp_path / "ca.key").mkdir()

    with pytest.raises(CertificateError, match=r"ca.key cannot be written: Is a directory"):
        init_certificates(tmp_path, now=NOW, force=True)

    assert [path.name for path in tmp_path.iterdir()] == ["ca.key"]


def _encrypted(pair: KeyPair) -> bytes:
    key = serialization.load_pem_private_key(pair.private_key_pem, password=None)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"password"),
    )


AUTHORITY = issue_authority("test CA", now=NOW)
LEAF = issue_leaf(AUTHORITY, dns_names=["a"], ip_addresses=[], now=NOW)
DAMAGES = [
    pytest.param("tls.crt", None, r"tls\.crt is missing", id="no certificate"),
    pytest.param("tls.key", None, r"tls\.key is missing", id="no key"),
    pytest.param("tls.crt", b"", r"tls\.crt is empty, not a PEM certificate", id="empty"),
    pytest.param("tls.crt", b"\x30\x82\x01\x02", r"tls\.crt holds something else, not a PEM", id="binary"),
    pytest.param("tls.crt", LEAF.private_key_pem, r"tls\.crt holds a private key \(line 1\), not a", id="swapped"),
    pytest.param("tls.key", LEAF.certificate_pem, r"tls\.key holds a certificate \(line 1\), not a", id="swapped key"),
    pytest.param("tls.crt", b"\n" + LEAF.certificate_pem[:90], r"tls\.crt, line 2: .* no end", id="cut off"),
    pytest.param("tls.key", LEAF.private_key_pem[:90], r"tls\.key, line 1: .* no end", id="key cut off"),
    pytest.param("tls.crt", LEAF.certificate_pem.replace(b"M", b"!", 1), r"tls\.crt, line 1: .* damaged", id="damaged"),
    pytest.param(
        "tls.key", LEAF.private_key_pem.replace(b"M", b"!", 1), r"tls\.key, line 1: .* damaged", id="key damaged"
    ),
    pytest.param("tls.key", _encrypted(LEAF), r"tls\.key, line 1: the private key is encrypted", id="encrypted"),
    pytest.param("tls.key", LEAF.private_key_pem, r"tls\.key is not the key of the first cert", id="mismatch"),
]


@pytest.mark.parametrize(("name", "content", "message"), DAMAGES)
def test_files_that_cannot_be_served_are_explained(
    directory: Path, name: str, content: bytes | None, message: str
) -> None:
    (directory / name).unlink()
    if content is not None:
        (directory / name).write_bytes(content)

    with pytest.raises(CertificateError, match=message) as raised:
        read_serving_pair(directory, now=NOW)

    assert str(raised.value).endswith(f"run: kubewitness certs init --dir {directory} --force")


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (NOW + timedelta(days=366), r"tls\.crt expired at 2027-11-22 08:00:00 UTC"),
        (
            NOW - timedelta(days=1),
            r"tls\.crt is not valid before 2026-11-22 07:00:00 UTC, and .* clock says 2026-11-21",
        ),
    ],
)
def test_certificates_are_served_in_their_time_only(directory: Path, now: datetime, message: str) -> None:
    with pytest.raises(CertificateError, match=message):
        read_serving_pair(directory, now=now)


def test_an_empty_directory_needs_no_force(tmp_path: Path) -> None:
    with pytest.raises(CertificateError) as raised:
        read_serving_pair(tmp_path / "my certs", now=NOW)

    assert str(raised.value).endswith(f"kubewitness certs init --dir '{tmp_path}/my certs'")


def test_ensure_makes_what_is_missing_and_keeps_what_is_good(tmp_path: Path) -> None:
    assert ensure_dev_certificates(tmp_path / "certs", now=NOW) == tmp_path / "certs"
    before = contents(tmp_path / "certs")

    ensure_dev_certificates(tmp_path / "certs", now=NOW + timedelta(days=300))

    assert contents(tmp_path / "certs") == before


def test_ensure_renews_a_leaf_that_expires_within_a_month(directory: Path) -> None:
    before = contents(directory)

    ensure_dev_certificates(directory, now=NOW + timedelta(days=340))

    assert read_serving_pair(directory, now=NOW + timedelta(days=340)).not_after == NOW + timedelta(days=705)
    assert contents(directory)["ca.crt"] == before["ca.crt"]


def test_ensure_issues_anew_for_a_name_that_the_leaf_lacks(directory: Path) -> None:
    ensure_dev_certificates(directory, now=NOW, dns_names=["witness.audit.svc"])

    certificate = read_serving_pair(directory, now=NOW).certificate
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["witness.audit.svc"]


def test_ensure_replaces_an_authority_that_expired(directory: Path) -> None:
    later = NOW + timedelta(days=3660)

    ensure_dev_certificates(directory, now=later)

    authority = CertificateFiles.of_authority(directory).read()
    assert is_issued_by(read_serving_pair(directory, now=later).certificate, authority.certificate)


def test_ensure_never_replaces_certificates_made_elsewhere(tmp_path: Path) -> None:
    CertificateFiles.of_leaf(tmp_path).write(LEAF)
    before = contents(tmp_path)

    with pytest.raises(CertificateError, match="made elsewhere and do not serve localhost, kubewitness"):
        ensure_dev_certificates(tmp_path, now=NOW)

    assert contents(tmp_path) == before
