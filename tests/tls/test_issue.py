"""Issued certificates, as strict clients see them."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.tls.errors import CertificateError
from app.tls.issue import KeyPair, issue_authority, issue_identity, issue_leaf
from tests.tls.handshake import server, shake_hands, strict_client

# Real handshakes look at the real clock, so these certificates must be valid when the tests run.
NOW = datetime.now(UTC).replace(microsecond=0)
AUTHORITY = issue_authority("test CA", now=NOW)
LEAF = issue_leaf(
    AUTHORITY,
    dns_names=["witness.audit.svc", "witness.audit.svc.cluster.local", "localhost"],
    ip_addresses=["127.0.0.1", "::1"],
    now=NOW,
)


@pytest.mark.parametrize(
    "name", ["witness.audit.svc", "witness.audit.svc.cluster.local", "localhost", "127.0.0.1", "::1"]
)
def test_a_strict_client_accepts_every_name_of_the_leaf(name: str, tmp_path: Path) -> None:
    assert shake_hands(strict_client(AUTHORITY), server(LEAF, tmp_path), name).version() == "TLSv1.3"


@pytest.mark.parametrize("name", ["witness.other.svc", "audit.svc", "witness.audit", "127.0.0.2"])
def test_a_strict_client_refuses_any_other_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError, match=r"Hostname mismatch|IP address mismatch"):
        shake_hands(strict_client(AUTHORITY), server(LEAF, tmp_path), name)


def test_a_client_of_another_authority_of_the_same_name_refuses_the_leaf(tmp_path: Path) -> None:
    other = issue_authority("test CA", now=NOW)

    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(strict_client(other), server(LEAF, tmp_path), "localhost")


def test_service_names_longer_than_a_common_name_work(tmp_path: Path) -> None:
    name = f"{'s' * 63}.{'n' * 63}.svc"
    leaf = issue_leaf(AUTHORITY, dns_names=[name], ip_addresses=[], now=NOW)

    assert shake_hands(strict_client(AUTHORITY), server(leaf, tmp_path), name).version() == "TLSv1.3"


def test_a_leaf_cannot_sign_for_others(tmp_path: Path) -> None:
    forged = issue_leaf(LEAF, dns_names=["localhost"], ip_addresses=[], now=NOW)
    chain = KeyPair(
        certificate_pem=forged.certificate_pem + LEAF.certificate_pem, private_key_pem=forged.private_key_pem
    )

    with pytest.raises(ssl.SSLCertVerificationError, match="invalid CA certificate"):
        shake_hands(strict_client(AUTHORITY), server(chain, tmp_path), "localhost")


def test_an_rsa_authority_made_elsewhere_can_sign(tmp_path: Path) -> None:
    authority = _foreign_authority()
    leaf = issue_leaf(authority, dns_names=["localhost"], ip_addresses=[], now=NOW)

    assert shake_hands(strict_client(authority), server(leaf, tmp_path), "localhost").version() == "TLSv1.3"


def test_the_authority_may_sign_leaves_only() -> None:
    extensions = AUTHORITY.certificate.extensions

    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)


def test_the_leaf_may_serve_and_nothing_else() -> None:
    extensions = LEAF.certificate.extensions

    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_cert_sign) == (True, False)
    extended = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(extended) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_certificates_are_backdated_for_clients_with_slow_clocks() -> None:
    assert AUTHORITY.certificate.not_valid_before_utc == NOW - timedelta(hours=1)
    assert LEAF.certificate.not_valid_before_utc == NOW - timedelta(hours=1)


def test_lifetimes_are_ten_years_and_one_unless_told_otherwise() -> None:
    short = issue_leaf(AUTHORITY, dns_names=["a"], ip_addresses=[], now=NOW, lifetime=timedelta(days=3))

    assert AUTHORITY.not_after == NOW + timedelta(days=3650)
    assert LEAF.not_after == NOW + timedelta(days=365)
    assert short.not_after == NOW + timedelta(days=3)


def test_a_leaf_never_outlives_its_authority() -> None:
    authority = issue_authority("short", now=NOW, lifetime=timedelta(days=7))

    assert issue_leaf(authority, dns_names=["a"], ip_addresses=[], now=NOW).not_after == authority.not_after


def test_an_expired_authority_signs_nothing() -> None:
    with pytest.raises(CertificateError, match="the authority expired at"):
        issue_leaf(AUTHORITY, dns_names=["a"], ip_addresses=[], now=NOW + timedelta(days=3651))


def test_serial_numbers_differ() -> None:
    again = issue_leaf(AUTHORITY, dns_names=["a"], ip_addresses=[], now=NOW)

    assert (
        len({AUTHORITY.certificate.serial_number, LEAF.certificate.serial_number, again.certificate.serial_number}) == 3
    )


def test_names_given_twice_are_carried_once() -> None:
    leaf = issue_leaf(AUTHORITY, dns_names=["a", "A", "a"], ip_addresses=["::1", "0:0::1"], now=NOW)

    names = leaf.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a"]
    assert len(list(names)) == 2


@pytest.mark.parametrize(
    ("dns_names", "ip_addresses", "message"),
    [
        ([], [], "at least one DNS name or IP address"),
        (["127.0.0.1"], [], "'127.0.0.1' is an IP address, not a DNS name"),
        (["https://web.shop.svc"], [], "'https://web.shop.svc' is not a DNS name; write a bare host name"),
        (["web.shop.svc:8443"], [], "is not a DNS name"),
        (["web_1.shop.svc"], [], "is not a DNS name"),
        (["web..svc"], [], "is not a DNS name"),
        (["a\n"], [], "is not a DNS name"),
        (["a" * 64], [], "is not a DNS name"),
        ([".".join(["a" * 60] * 5)], [], "is not a DNS name"),
        (["büro.example"], [], "write it in its xn-- form"),
        ([], ["10.0.0.300"], "'10.0.0.300' is not an IP address"),
        ([], ["10.0.0.0/8"], "without port or mask"),
        ([], ["localhost"], "is not an IP address"),
    ],
)
def test_names_that_are_none_are_refused_in_words(dns_names: list[str], ip_addresses: list[str], message: str) -> None:
    with pytest.raises(CertificateError, match=message):
        issue_leaf(AUTHORITY, dns_names=dns_names, ip_addresses=ip_addresses, now=NOW)


def test_a_key_pair_does_not_show_its_key() -> None:
    assert "PRIVATE" not in repr(LEAF)


def _foreign_authority() -> KeyPair:
    """Return an RSA authority whose key identifier is not computed from its key."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "made elsewhere")])
    certificate = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(AUTHORITY.certificate.extensions.get_extension_for_class(x509.KeyUsage).value, critical=True)
        .add_extension(x509.SubjectKeyIdentifier(b"made elsewhere"), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        private_key_pem=key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def test_an_identity_says_who_its_holder_is_and_serves_its_names(tmp_path: Path) -> None:
    pair = issue_identity(AUTHORITY, "alice", group="dev-team", dns_names=["localhost"], now=NOW)

    assert pair.certificate.subject.rfc4514_string() == "CN=alice,O=dev-team"
    assert shake_hands(strict_client(AUTHORITY), server(pair, tmp_path), "localhost").version() == "TLSv1.3"
    usages = pair.certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usages) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_an_identity_without_names_has_none() -> None:
    pair = issue_identity(AUTHORITY, "alice", now=NOW)

    assert pair.certificate.subject.rfc4514_string() == "CN=alice"
    with pytest.raises(x509.ExtensionNotFound):
        pair.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
