"""Which authority signs what is served, and when that is renewed."""

from __future__ import annotations

from datetime import timedelta

import pytest

from app.tls.authorities import Authority
from app.tls.errors import CertificateError
from app.tls.issue import CLOCK_SKEW, issue_authority
from app.tls.leaves import Sightings, choose_signer, is_due, sign
from tests.tls.objects import START

LIFE = timedelta(seconds=60)
OVERLAP = timedelta(seconds=10)
NAMES = ["audit.audit.svc"]


def authority(lifetime: timedelta = timedelta(days=1)) -> Authority:
    pair = issue_authority("test", now=START, lifetime=lifetime)
    return Authority(pair, pair.certificate)


OLD, NEW = authority(), authority()
LEAF = sign(OLD, NAMES, now=START, lifetime=LIFE)


@pytest.mark.parametrize(
    ("seconds", "seen", "expected"),
    [
        (30, {OLD: 0, NEW: 20}, NEW),
        (30, {OLD: 0, NEW: 21}, OLD),
        (30, {OLD: 0}, OLD),
        (30, {NEW: 29}, NEW),
        (30, {}, NEW),
        (39.9, {OLD: 0, NEW: 35}, OLD),
        (40, {OLD: 0, NEW: 35}, NEW),
        (40, {OLD: 0}, OLD),
        (60, {OLD: 0}, NEW),
    ],
    ids=[
        "API servers know the new one",
        "they may not know it yet",
        "they do not know it",
        "they trust the old one no more",
        "they trust neither",
        "not yet to be renewed",
        "to be renewed anyway",
        "to be renewed, and the new one is of no use",
        "expired",
    ],
)
def test_the_signer_changes_when_api_servers_know_the_current_one(
    seconds: float, seen: dict[Authority, float], expected: Authority
) -> None:
    sightings = Sightings({each.certificate: since for each, since in seen.items()})

    chosen = choose_signer(
        LEAF, NEW, sightings, moment=seconds, overlap=OVERLAP, now=START + timedelta(seconds=seconds)
    )

    assert chosen is expected


def test_the_first_leaf_is_of_the_current_authority() -> None:
    assert choose_signer(None, NEW, Sightings(), moment=0, overlap=OVERLAP, now=START) is NEW


def test_what_is_not_seen_once_has_to_be_seen_anew() -> None:
    old, new = OLD.certificate, NEW.certificate
    seen = Sightings().after(frozenset([old]), 1).after(frozenset([old, new]), 5)
    assert (seen.lasted(old, 7), seen.lasted(new, 7)) == (timedelta(seconds=6), timedelta(seconds=2))

    again = seen.after(frozenset([new]), 8).after(frozenset([old, new]), 9)

    assert (again.lasted(old, 9), again.lasted(new, 9)) == (timedelta(0), timedelta(seconds=4))


def test_a_leaf_is_due_when_a_third_of_its_life_is_left() -> None:
    assert not is_due(LEAF, now=START + timedelta(seconds=39.9), lifetime=LIFE)
    assert is_due(LEAF, now=START + timedelta(seconds=40), lifetime=LIFE)


def test_a_leaf_does_not_outlive_its_authority_and_is_not_renewed_for_nothing() -> None:
    leaf = sign(authority(timedelta(seconds=30)), NAMES, now=START, lifetime=LIFE)

    assert leaf.not_after == START + timedelta(seconds=30)
    assert not is_due(leaf, now=START + timedelta(seconds=29), lifetime=LIFE)


def test_an_expired_authority_signs_nothing() -> None:
    with pytest.raises(CertificateError, match="the authority expired at"):
        sign(OLD, NAMES, now=START + timedelta(days=2), lifetime=LIFE)


def test_a_leaf_that_is_not_valid_yet_since_the_clock_was_set_back_is_due() -> None:
    assert not is_due(LEAF, now=START - CLOCK_SKEW, lifetime=LIFE)
    assert is_due(LEAF, now=START - CLOCK_SKEW - timedelta(seconds=1), lifetime=LIFE)
