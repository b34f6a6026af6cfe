"""Whether API servers trust a chain, by the webhook configuration that was read last."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from app.kube.errors import ApiError
from app.kube.installation import Registration
from app.tls.authorities import certificates
from app.tls.issue import KeyPair, issue_authority, issue_leaf
from app.tls.trust import Trust, leads_to
from tests.tls.objects import webhook

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOT = issue_authority("root", now=NOW)
OTHER = issue_authority("root", now=NOW)


def leaf(authority: KeyPair) -> KeyPair:
    return issue_leaf(authority, dns_names=["a"], ip_addresses=[], now=NOW)


def intermediate(root: KeyPair) -> KeyPair:
    key, issuer = ec.generate_private_key(ec.SECP256R1()), root.certificate
    root_key = serialization.load_pem_private_key(root.private_key_pem, password=None)
    assert isinstance(root_key, ec.EllipticCurvePrivateKey)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "intermediate")])
    certificate = (
        x509.CertificateBuilder(issuer.subject, name, key.public_key(), 7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=400))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return KeyPair(certificate_pem=certificate.public_bytes(pem), private_key_pem=private)


def registration(*bundles: bytes, writer: str = "") -> Registration:
    held = [webhook(str(index), bundle) for index, bundle in enumerate(bundles)]
    wrote = [{"manager": writer, "time": "2026-01-01T00:00:00Z", "fieldsV1": {"f:caBundle": {}}}] if writer else []
    document = {"metadata": {"name": "audit", "managedFields": wrote}, "webhooks": held}
    return msgspec.json.decode(msgspec.json.encode(document), type=Registration)


def trusting(*bundles: bytes, is_kept: bool = False) -> Trust:
    trust = Trust("audit", is_kept=is_kept)
    trust.saw(registration(*bundles))
    return trust


INTERMEDIATE = intermediate(ROOT)
BELOW = leaf(INTERMEDIATE)


@pytest.mark.parametrize(
    ("chain", "trusted", "expected"),
    [
        ([leaf(ROOT)], ROOT, True),
        ([leaf(ROOT)], OTHER, False),
        ([leaf(ROOT), ROOT], OTHER, False),
        ([BELOW, INTERMEDIATE], ROOT, True),
        ([BELOW], INTERMEDIATE, True),
        ([BELOW], ROOT, False),
        ([BELOW, OTHER, INTERMEDIATE], ROOT, True),
        ([BELOW], BELOW, True),
        ([], ROOT, False),
    ],
    ids=[
        "direct",
        "same name, other key",
        "its own root",
        "by way",
        "to the way",
        "gap",
        "any order",
        "itself",
        "none",
    ],
)
def test_a_chain_leads_to_what_is_trusted_or_does_not(
    chain: Sequence[KeyPair], trusted: KeyPair, expected: bool
) -> None:
    found = [each.certificate for each in chain]

    assert leads_to(found, frozenset([trusted.certificate])) is expected


def test_every_webhook_has_to_trust() -> None:
    chain = leaf(ROOT).certificate_pem

    assert trusting(ROOT.certificate_pem, ROOT.certificate_pem).verdict(chain).state == "ok"
    assert trusting(ROOT.certificate_pem, OTHER.certificate_pem).verdict(chain).state == "unavailable"
    assert trusting(ROOT.certificate_pem, b"").verdict(chain).state == "unavailable"


def test_webhooks_of_others_have_no_say() -> None:
    theirs = {"name": "check.example.com", "clientConfig": {"url": "https://example.com"}}
    document = {"metadata": {"name": "audit"}, "webhooks": [theirs, webhook("a", ROOT.certificate_pem)]}
    trust = Trust("audit", is_kept=True)

    trust.saw(msgspec.json.decode(msgspec.json.encode(document), type=Registration))
    assert trust.verdict(leaf(ROOT).certificate_pem).state == "ok"
    assert trust.seen == {ROOT.certificate}

    trust.saw(msgspec.json.decode(msgspec.json.encode({**document, "webhooks": [theirs]}), type=Registration))
    assert "no webhook whose name ends in .kubewitness.svc" in trust.verdict(leaf(ROOT).certificate_pem).message


def test_a_verdict_changes_with_what_is_read_and_with_what_is_served() -> None:
    trust, chain = trusting(ROOT.certificate_pem), leaf(ROOT).certificate_pem
    assert trust.verdict(chain).state == "ok"

    assert trust.verdict(leaf(OTHER).certificate_pem).state == "unavailable"
    trust.saw(registration(OTHER.certificate_pem))
    assert trust.verdict(chain).state == "unavailable"


@pytest.mark.parametrize(("is_kept", "state"), [(True, "unavailable"), (False, "degraded")])
def test_what_was_never_read_is_a_reason_not_to_be_ready_where_this_program_writes_it(
    is_kept: bool, state: str
) -> None:
    trust, chain = Trust("audit", is_kept=is_kept), leaf(ROOT).certificate_pem
    assert trust.verdict(chain).state == state
    assert trust.verdict(chain).message == "ValidatingWebhookConfiguration audit has not been read yet"

    trust.failed(ApiError("may not"))

    assert (trust.verdict(chain).state, trust.verdict(chain).message) == (state, "may not")


def test_what_was_read_counts_while_it_cannot_be_read_again() -> None:
    trust, chain = trusting(ROOT.certificate_pem), leaf(ROOT).certificate_pem

    trust.failed(ApiError("no route to host"))

    verdict = trust.verdict(chain)
    assert (verdict.state, verdict.message) == ("degraded", "what was read last may be old: no route to host")


def test_people_are_told_who_wrote_what_does_not_match_and_what_to_put_there() -> None:
    trust = Trust("audit", is_kept=False)
    trust.saw(registration(OTHER.certificate_pem, writer="cainjector"))

    message = trust.verdict(leaf(ROOT).certificate_pem).message

    assert message == (
        "the caBundle of ValidatingWebhookConfiguration audit, written last by cainjector, does not hold the authority "
        "that signed the served certificate, so API servers refuse it: put the authority there that signed tls.crt, or "
        "serve a certificate that the one there has signed"
    )


def test_a_configuration_without_webhooks_is_a_problem() -> None:
    trust = Trust("audit", is_kept=True)
    trust.saw(registration())

    assert trust.verdict(leaf(ROOT).certificate_pem).message.startswith("ValidatingWebhookConfiguration audit has no")


def test_a_text_of_which_a_part_is_damaged_holds_no_certificates() -> None:
    assert certificates(ROOT.certificate_pem + ROOT.certificate_pem.replace(b"MII", b"AII")) == ()
