"""What replicas do to the Secret and the caBundle of their installation, call by call."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from app.tls.authorities import ROTATE, pem
from app.tls.issue import issue_authority
from app.tls.managed import REPAIRS
from app.tls.rotation import Terms
from tests.tls.handshake import shake_hands
from tests.tls.objects import CONFIGURATION, KEEP, SECRET, START, Objects, Replica

TERMS = Terms(leaf=timedelta(seconds=60), authority=timedelta(days=9), overlap=timedelta(seconds=10))
FOREIGN = issue_authority("somebody else", now=START).certificate_pem


def install(count: int = 1) -> tuple[Objects, list[Replica]]:
    """An installation that is settled."""
    objects = Objects()
    objects.put_secret(KEEP)
    replicas = [Replica(objects, TERMS) for _ in range(count)]
    for replica in [*replicas, *replicas]:
        assert replica.look() is None
    return objects, replicas


def rotate(objects: Objects, replica: Replica) -> None:
    """Have one replica begin a rotation and promote the next authority, at their times."""
    objects.put_secret(objects.contents, {**objects.annotations, ROTATE: "now"})
    assert replica.look() is None
    objects.clock += 10
    assert replica.look() is None


def test_the_first_replica_makes_an_authority_and_tells_api_servers() -> None:
    objects, (replica,) = install()

    assert objects.trusted == {replica.signer}
    assert replica.managed.verdict().state == "ok"
    assert replica.counted.repairs == 0
    assert replica.counted.authority_ends == START + TERMS.authority


def test_a_strict_client_that_trusts_the_bundle_trusts_what_is_served() -> None:
    objects = Objects(clock=(datetime.now(UTC) - START).total_seconds())
    replica = Replica(objects, TERMS)
    assert replica.look() is None
    client = ssl.create_default_context(cadata=objects.bundles[0].decode())
    client.verify_flags |= ssl.VERIFY_X509_STRICT

    assert shake_hands(client, replica.serving.context, "audit.audit.svc").version() == "TLSv1.3"


def test_of_two_that_begin_at_once_one_makes_the_authority() -> None:
    objects = Objects()
    first, second = Replica(objects, TERMS), Replica(objects, TERMS)
    for _ in range(4):  # both have read both objects
        first.step()
        second.step()

    assert first.finish() is None
    late = second.finish()
    assert late is not None
    assert late.is_conflict
    assert second.look() is None
    assert objects.trusted == {first.signer} == {second.signer}


def test_each_replica_has_a_key_of_its_own() -> None:
    _, (first, second) = install(2)
    assert first.serving.pair is not None
    assert second.serving.pair is not None

    assert first.serving.pair.private_key_pem != second.serving.pair.private_key_pem


def test_a_leaf_is_renewed_when_a_third_is_left_also_without_an_api_server() -> None:
    objects, (replica,) = install()
    before, asked = replica.serving.not_after, len(objects.requests)

    objects.clock = 39
    replica.managed.renew()
    kept = replica.serving.not_after
    objects.clock = 40
    replica.managed.renew()

    assert (kept, replica.serving.not_after) == (before, START + timedelta(seconds=100))
    assert len(objects.requests) == asked


def test_a_rotation_goes_through_its_steps() -> None:
    objects, (first, second) = install(2)
    old = first.signer

    objects.put_secret(objects.contents, {**objects.annotations, ROTATE: "now"})
    assert first.look() is None
    begun = objects.trusted
    assert (len(begun), first.signer, ROTATE in objects.annotations) == (2, old, False)

    objects.clock += 9.9
    assert first.look() is None
    assert first.signer == old
    objects.clock += 0.1
    assert first.look() is None
    assert first.signer in begun - {old}
    assert objects.trusted == begun

    objects.clock += TERMS.leaf.total_seconds() + 9
    for replica in (first, second):
        assert replica.look() is None
    objects.clock += 1
    for replica in (first, second):
        assert replica.look() is None

    assert objects.trusted == {first.signer} == {second.signer}
    assert (first.counted.rotations, second.counted.rotations) == (1, 0)
    assert first.counted.repairs == second.counted.repairs == 0


def test_a_replica_says_when_there_is_something_to_do() -> None:
    objects, (replica,) = install()
    assert replica.managed.wait == timedelta(seconds=30)

    objects.put_secret(objects.contents, {**objects.annotations, ROTATE: "now"})
    assert replica.look() is None
    assert replica.managed.wait == TERMS.overlap


@pytest.mark.parametrize("calls", range(1, 6))
def test_who_was_held_up_while_others_rotated_takes_nothing_from_them(calls: int) -> None:
    objects, (late, other) = install(2)
    objects.put_bundle(FOREIGN)  # so that there is something to write, too
    for _ in range(calls):
        late.step()

    rotate(objects, other)
    while late.looking is not None:
        late.step()
        assert other.signer in objects.trusted


@pytest.mark.parametrize("bundle", [b"", FOREIGN, b"no certificate"], ids=["removed", "foreign", "senseless"])
def test_a_bundle_that_somebody_changed_is_written_again(bundle: bytes) -> None:
    objects, (replica,) = install()
    objects.put_bundle(bundle, manager="kubectl-edit")

    with structlog.testing.capture_logs() as logged:
        assert replica.look() is None

    assert objects.trusted == {replica.signer}
    assert replica.counted.repairs == 1
    assert [each["was_written_by"] for each in logged if each["event"] == "caBundle repaired"] == ["kubectl-edit"]


def test_a_bundle_with_the_same_certificates_in_another_order_is_left_alone() -> None:
    objects, (replica,) = install()
    objects.put_secret(objects.contents, {ROTATE: "now"})
    assert replica.look() is None
    reversed_bundle = pem(tuple(reversed(tuple(objects.trusted))))
    objects.put_bundle(reversed_bundle)
    before = len(objects.requests)

    assert replica.look() is None

    assert [each.split()[0] for each in objects.requests[before:]] == ["GET", "GET"]


def test_what_one_webhook_lacks_is_written_to_it() -> None:
    objects, (replica,) = install()
    assert objects.configuration is not None
    objects.configuration["webhooks"][1]["clientConfig"]["caBundle"] = ""

    assert replica.look() is None

    assert objects.bundles[0] == objects.bundles[1] != b""


def test_an_authority_whose_key_is_lost_stays_trusted_while_leaves_of_it_are_served() -> None:
    objects, (replica,) = install()
    old = replica.signer
    objects.put_secret({**objects.contents, "ca.key": b"gone"}, objects.annotations)

    with structlog.testing.capture_logs() as logged:
        assert replica.look() is None
    assert (replica.signer, old in objects.trusted, len(objects.trusted)) == (old, True, 2)
    objects.clock += 9
    replica.managed.renew()
    assert replica.signer == old
    objects.clock += 1
    replica.managed.renew()

    assert replica.signer in objects.trusted - {old}
    said = next(each for each in logged if each.get("action") == "replaced")
    assert said["damage"] == "ca.key holds something else, not a PEM private key"


def test_a_secret_that_lost_its_authority_alone_gets_a_new_one_and_the_old_is_not_trusted() -> None:
    objects, (replica,) = install()
    old = replica.signer
    objects.put_secret(KEEP, objects.annotations)

    assert replica.look() is None
    assert replica.look() is None

    assert objects.trusted == {replica.signer} != {old}


@pytest.mark.parametrize("is_gone", [False, True], ids=["emptied", "deleted"])
def test_a_secret_that_lost_everything_is_restored(is_gone: bool) -> None:
    objects, (replica,) = install()
    before, trusted = objects.contents, objects.trusted
    objects.put_secret({})
    objects.secret = None if is_gone else objects.secret

    assert replica.look() is None

    assert objects.contents == before
    assert objects.trusted == trusted == {replica.signer}


@pytest.mark.parametrize(
    ("forbidden", "state", "words"),
    [
        ("PATCH", "unavailable", "not allowed to patch it: `helm upgrade` restores the ClusterRole"),
        (CONFIGURATION, "unavailable", "not allowed to get it: `helm upgrade` restores the ClusterRole"),
        (f"{SECRET}/audit", "unavailable", "not allowed to get it: `helm upgrade` restores the Role"),
    ],
)
def test_a_replica_that_may_not_do_what_it_has_to_is_not_ready_and_says_why(
    forbidden: str, state: str, words: str
) -> None:
    objects = Objects()
    objects.forbidden.add(forbidden)
    replica = Replica(objects, TERMS)

    failure = replica.look()
    replica.managed.tell(str(failure) if failure else "")

    assert replica.managed.verdict().state == state
    assert words in (replica.managed.verdict().message + str(failure))


def test_a_replica_whose_secret_is_gone_serves_on_and_says_what_restores_it() -> None:
    objects, (replica,) = install()
    objects.secret = None
    objects.forbidden.add("POST")

    failure = replica.look()
    replica.managed.tell(str(failure))

    assert replica.managed.verdict().state == "degraded"
    assert "Secret audit/audit is gone, and may not be created here: `helm upgrade` restores it" in str(failure)


def test_a_replica_without_a_webhook_configuration_is_not_ready() -> None:
    objects, (replica,) = install()
    objects.configuration = None

    assert replica.look() is None

    verdict = replica.managed.verdict()
    assert verdict.state == "unavailable"
    assert verdict.message.startswith("there is no ValidatingWebhookConfiguration audit")


def test_a_replica_is_not_ready_while_the_bundle_is_foreign() -> None:
    objects, (replica,) = install()
    objects.put_bundle(FOREIGN)
    objects.forbidden.add("PATCH")

    assert replica.look() is not None

    verdict = replica.managed.verdict()
    assert verdict.state == "unavailable"
    assert "does not hold the authority that signed the served certificate" in verdict.message


def test_an_api_server_that_is_away_leaves_a_ready_replica_ready() -> None:
    objects, (replica,) = install()
    objects.faults.append("refused")

    failure = replica.look()
    replica.managed.tell(str(failure))

    assert replica.managed.verdict().state == "degraded"
    assert "no route to host" in replica.managed.verdict().message


def test_no_log_shows_a_key() -> None:
    with structlog.testing.capture_logs() as logged:
        objects, (replica,) = install()
        rotate(objects, replica)
        objects.put_secret({**objects.contents, "ca.key": b"gone"}, objects.annotations)
        replica.look()

    assert "PRIVATE" not in repr(logged) + repr(replica.managed.leaf)
    assert len(logged) > 5


def test_who_goes_on_changing_the_bundle_is_not_answered_without_end() -> None:
    objects, (replica,) = install()
    for _ in range(REPAIRS):
        objects.put_bundle(FOREIGN, manager="cainjector")
        objects.clock += 1
        assert replica.look() is None
    objects.put_bundle(FOREIGN, manager="cainjector")

    failure = replica.look()
    assert failure is not None
    assert failure.retry_after == 31
    assert "was changed 30 times within a minute, last by cainjector: have one of the two not write it" in str(failure)
    assert replica.counted.repairs == REPAIRS

    objects.clock += 31
    assert replica.look() is None
    assert objects.trusted == {replica.signer}
