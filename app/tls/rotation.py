"""When an authority is made, replaced and forgotten. Pure but for the keys that it makes: all clocks are passed in.

The order that is kept, whichever replica takes a step, and however often steps are tried:

1. `begun`     a next authority is made, and published in the `caBundle` beside the current one, which goes on signing;
2. `promoted`  after API servers had `overlap` to learn of it, the next one signs, and the current one is previous;
3. `dropped`   the previous ones go from the `caBundle` when nothing that they signed can be valid any more: one leaf's
               life after the promotion, and an `overlap` on top, since the clocks of replicas differ and some may hear
               late of the promotion.

So the `caBundle` holds an old authority until every replica serves a leaf of the new one, without anybody counting
replicas. Whoever cannot reach the API server signs on with what it has in memory: that is trusted as long as nobody
else rotates, and after a promotion until the previous authority is dropped, a leaf's life later.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final, Literal, TypeAlias

from app.tls.authorities import Authorities, Authority
from app.tls.issue import CLOCK_SKEW, issue_authority

NAME: Final = "kubewitness CA"
REMAINDER: Final = 3
"""Replaced is what has less than a third of its life left."""

MOST_PREVIOUS: Final = 4
"""No rotation begins while so many are still trusted: each wish of somebody would make the `caBundle` longer."""

_NOT_YET: Final = "ca.crt is not valid yet: a clock is wrong, or was when it was made"

StepName: TypeAlias = Literal["made", "replaced", "begun", "promoted", "dropped", "dated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Lifetimes of leaves and authorities, and how long API servers are given to learn of a new authority."""

    leaf: timedelta
    authority: timedelta
    overlap: timedelta


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be written instead of what was read, what it is called, and what was found unusable."""

    name: StepName
    after: Authorities
    damage: str = ""


def next_step(held: Authorities, *, now: datetime, terms: Terms, next_seen: timedelta | None) -> Step | None:
    """Return the one thing that is to be done now, None if nothing is.

    `next_seen` is for how long the `caBundle` was seen to hold the next authority, without interruption and to this
    moment; None if it does not, or cannot be read.
    """
    valid = _without_expired(held, now)
    if valid.current is None or not _has_begun(valid.current, now):
        return _restored(valid, now, terms, was_empty=not (held.in_force or held.damage))
    if valid.next is not None and next_seen is not None and next_seen >= terms.overlap and _has_begun(valid.next, now):
        return Step("promoted", _succeeded(valid, valid.next, now))
    if valid.previous:
        if valid.promoted is None or valid.promoted > now + CLOCK_SKEW:
            return Step("dated", replace(valid, promoted=now))
        if now >= valid.promoted + terms.leaf + terms.overlap:
            return Step("dropped", replace(valid, previous=()))
    if valid.next is None and len(valid.previous) < MOST_PREVIOUS and _is_due(valid, valid.current, now):
        return Step("begun", replace(valid, next=_new(now, terms), rotation_wanted=False))
    return None


def _is_due(held: Authorities, current: Authority, now: datetime) -> bool:
    begun = current.certificate.not_valid_before_utc + CLOCK_SKEW
    return held.rotation_wanted or current.not_after - now < (current.not_after - begun) / REMAINDER


def _restored(held: Authorities, now: datetime, terms: Terms, *, was_empty: bool) -> Step:
    """Have a current authority again: the next one, if there is one that was published already.

    One that is not valid yet, since who made it had a clock that was ahead, is trusted like others that went: it may be
    our clock that is behind, and what it signed be good.
    """
    damage = held.damage or (_NOT_YET if held.current is not None else "")
    successor = held.next if held.next is not None and _has_begun(held.next, now) else None
    after = _succeeded(held, successor or _new(now, terms), now)
    if successor is None:
        after = replace(after, rotation_wanted=False)
    return Step("made" if was_empty else "replaced", after, damage)


def _succeeded(held: Authorities, successor: Authority, now: datetime) -> Authorities:
    retired = (held.current.certificate,) if held.current is not None else ()
    return replace(
        held, current=successor, next=None, previous=(*held.previous, *retired), promoted=now.replace(microsecond=0)
    )


def _without_expired(held: Authorities, now: datetime) -> Authorities:
    return replace(
        held,
        current=_unless_expired(held.current, now),
        next=_unless_expired(held.next, now),
        previous=tuple(each for each in held.previous if each.not_valid_after_utc > now),
    )


def _unless_expired(authority: Authority | None, now: datetime) -> Authority | None:
    return authority if authority is not None and authority.not_after > now else None


def _has_begun(authority: Authority, now: datetime) -> bool:
    return authority.certificate.not_valid_before_utc <= now


def _new(now: datetime, terms: Terms) -> Authority:
    pair = issue_authority(NAME, now=now, lifetime=terms.authority)
    return Authority(pair, pair.certificate)
