"""Which step is next, for each state in which an installation's authorities can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from app.tls.authorities import (
    PROMOTED,
    ROTATE,
    Authorities,
    Authority,
    read_secret,
    write_annotations,
    write_contents,
)
from app.tls.issue import CLOCK_SKEW, issue_authority, issue_leaf
from app.tls.rotation import MOST_PREVIOUS, Terms, next_step
from tests.tls.objects import START

TERMS = Terms(leaf=timedelta(minutes=3), authority=timedelta(days=9), overlap=timedelta(minutes=1))
SECOND = timedelta(seconds=1)


def authority(begun: datetime = START) -> Authority:
    pair = issue_authority("test", now=begun, lifetime=TERMS.authority)
    return Authority(pair, pair.certificate)


FIRST, OTHER, THIRD = (authority() for _ in range(3))
SETTLED = Authorities(current=FIRST, promoted=START)
BEGUN = replace(SETTLED, next=OTHER)
PROMOTION = Authorities(current=OTHER, previous=(FIRST.certificate,), promoted=START)


def step(
    held: Authorities, after: timedelta = timedelta(0), seen: timedelta | None = None
) -> tuple[str, Authorities] | None:
    found = next_step(held, now=START + after, terms=TERMS, next_seen=seen)
    return (found.name, found.after) if found is not None else None


def test_an_empty_secret_gets_an_authority_with_the_whole_life() -> None:
    name, after = step(Authorities()) or ("", Authorities())

    assert name == "made"
    assert after.current is not None
    assert after.current.not_after == START + TERMS.authority
    assert (after.next, after.previous) == (None, ())


def test_an_authority_of_a_clock_that_was_ahead_is_replaced_and_stays_trusted() -> None:
    early = authority(START + CLOCK_SKEW + SECOND)

    found = next_step(Authorities(current=early), now=START, terms=TERMS, next_seen=None)

    assert found is not None
    assert (found.name, found.damage) == (
        "replaced",
        "ca.crt is not valid yet: a clock is wrong, or was when it was made",
    )
    assert found.after.current is not None
    assert found.after.current.not_after == START + TERMS.authority
    assert found.after.previous == (early.certificate,)
    assert step(Authorities(current=early), SECOND) is None


def test_a_next_authority_of_a_clock_that_was_ahead_does_not_sign() -> None:
    early = authority(START + CLOCK_SKEW + SECOND)

    assert step(replace(SETTLED, next=early), seen=timedelta(hours=1)) is None
    name, after = step(Authorities(next=early)) or ("", Authorities())
    assert name == "replaced"
    assert after.current is not None
    assert after.current != early


def test_nothing_is_done_while_all_is_well() -> None:
    assert step(SETTLED, timedelta(days=6)) is None


def test_the_next_authority_is_made_when_a_third_of_the_life_is_left() -> None:
    name, after = step(SETTLED, timedelta(days=6) + SECOND) or ("", Authorities())

    assert (name, after.current) == ("begun", FIRST)
    assert after.next is not None
    assert after.next.not_after == START + timedelta(days=15) + SECOND


def test_a_wish_begins_a_rotation_and_is_granted_once() -> None:
    name, after = step(replace(SETTLED, rotation_wanted=True)) or ("", Authorities())

    assert (name, after.rotation_wanted) == ("begun", False)
    assert step(after) is None


@pytest.mark.parametrize("seen", [None, timedelta(0), TERMS.overlap - SECOND])
def test_the_next_authority_does_not_sign_before_api_servers_had_time_to_learn_of_it(seen: timedelta | None) -> None:
    assert step(BEGUN, timedelta(hours=1), seen) is None


def test_the_next_authority_takes_over_after_that() -> None:
    assert step(BEGUN, SECOND, TERMS.overlap) == ("promoted", replace(PROMOTION, promoted=START + SECOND))


def test_the_previous_authority_is_trusted_for_a_leaf_life_and_an_overlap_longer() -> None:
    longest = TERMS.leaf + TERMS.overlap

    assert step(PROMOTION, longest - SECOND) is None
    assert step(PROMOTION, longest) == ("dropped", replace(PROMOTION, previous=()))


@pytest.mark.parametrize("promoted", [None, START + CLOCK_SKEW + SECOND], ids=["unknown", "of a clock that was ahead"])
def test_a_promotion_of_no_credible_time_counts_as_of_now(promoted: datetime | None) -> None:
    assert step(replace(PROMOTION, promoted=promoted)) == ("dated", PROMOTION)


def test_an_expired_previous_authority_is_nothing_to_wait_for() -> None:
    expired = authority(START - timedelta(days=20)).certificate

    assert step(replace(PROMOTION, previous=(expired,))) is None


def test_wishes_do_not_make_the_bundle_grow_without_end() -> None:
    many = tuple(authority().certificate for _ in range(MOST_PREVIOUS))

    assert step(replace(PROMOTION, previous=many, rotation_wanted=True)) is None
    assert (step(replace(PROMOTION, previous=many[1:], rotation_wanted=True)) or ("",))[0] == "begun"


def test_an_expired_authority_is_replaced_and_not_trusted_any_longer() -> None:
    name, after = step(SETTLED, TERMS.authority + SECOND) or ("", Authorities())

    assert (name, after.previous) == ("replaced", ())
    assert after.current not in (None, FIRST)


def test_the_next_authority_stands_in_for_one_that_is_lost() -> None:
    held = Authorities(next=OTHER, previous=(FIRST.certificate,), damage="ca.key is empty")

    assert step(held) == ("replaced", replace(PROMOTION, damage="ca.key is empty"))


def test_what_is_written_is_read_again() -> None:
    held = replace(BEGUN, previous=(THIRD.certificate,), rotation_wanted=True)

    contents = write_contents(held, {"console-token": b"t", "previous.crt": b"old"})
    annotations = write_annotations(held, {ROTATE: "soon", "of others": "stays"})

    assert read_secret(contents, annotations) == held
    assert contents["console-token"] == b"t"
    assert annotations == {ROTATE: "soon", "of others": "stays", PROMOTED: "2026-01-01T00:00:00+00:00"}


@pytest.mark.parametrize(
    ("changes", "damage"),
    [
        ({"ca.key": b""}, "ca.key is empty, not a PEM private key"),
        ({"ca.key": OTHER.pair.private_key_pem}, "ca.key is not the key of the first certificate in ca.crt"),
        ({"ca.key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"}, "ca.key, line 1: "),
    ],
    ids=["no key", "the key of another", "a damaged key"],
)
def test_an_authority_that_cannot_sign_is_still_trusted(changes: dict[str, bytes], damage: str) -> None:
    held = read_secret({**write_contents(SETTLED, {}), **changes}, {})

    assert held.current is None
    assert held.previous == (FIRST.certificate,)
    assert held.damage.startswith(damage)


def test_a_leaf_is_no_authority() -> None:
    leaf = issue_leaf(FIRST.pair, dns_names=["a"], ip_addresses=[], now=START)
    contents = {"ca.crt": leaf.certificate_pem, "ca.key": leaf.private_key_pem}

    assert read_secret(contents, {}).damage == "ca.crt is not the certificate of an authority: it may not sign others"


def test_an_authority_of_a_clock_that_is_ahead_is_usable() -> None:
    ahead = authority(START + timedelta(hours=1))

    assert step(Authorities(current=ahead, promoted=START)) is None


def test_nothing_shows_a_key() -> None:
    secret = FIRST.pair.private_key_pem.decode().splitlines()[1]

    assert secret not in repr(BEGUN)
    assert secret not in repr(next_step(BEGUN, now=START, terms=TERMS, next_seen=TERMS.overlap))
