"""The record of which failed Jobs were told: one small document that all replicas share.

    new ──claim──> claimed ──settle──> told
                   ├── its owner is gone: take_over ──> claimed by another
                   └── its owner is back, and does not tell: give_up ──> take_over by anybody, at once

A replica that is to tell a failure claims it first, and settles it when what it tells is durable in its own journal.
Each function returns a new record; that two replicas do not write at the same time is the caller's concern.
`now`, `failed_at`, `at` and `since` are unix seconds. A failure is known by its Job's uid and its second, so the second
must be the same at every look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

VERSION: Final = 1
MARK_LENGTH: Final = 16
"""Of a uid of version 4 (or 7) the last 16 digits hold 62 random bits, which only need to differ within a second."""

LATE: Final = 60
"""Seconds between the time that a failure carries and its being seen, at most: clocks of control-plane nodes differ,
and a controller that meets a conflict writes later."""

MOST_MARKS: Final = 4_000
MOST_CLAIMS: Final = 500
MOST_LIMITS: Final = 500
SIZE_LIMIT: Final = 224 * 1024
"""Bytes of a pruned record. All annotations of an object may have 256 KiB (`TotalAnnotationSizeLimitB` of
k8s.io/apimachinery)."""

_GIVEN_UP: Final = 0
"""As the second of a claim: older than any grace, so that earlier programs take it for an orphan, too."""

_MARK_SIZE: Final = 35
"""Bytes of a mark that has its second for itself: `"1790000000":["0123456789abcdef"],`."""

Status: TypeAlias = Literal["new", "told", "claimed", "old"]
"""`old` was never told, and is not told any more."""

# Any second up to the year 36812: what is larger is no time, and would make everything look told.
Second: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
Mark: TypeAlias = Annotated[str, msgspec.Meta(max_length=MARK_LENGTH)]


class NewerVersionError(ValueError):
    """A later program has written this, and must not be undone."""


class _Versioned(msgspec.Struct, frozen=True):
    version: int = VERSION


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that replica `by` is telling since `at`; namespace and name find the Job, if there still is one."""

    uid: str
    by: str
    namespace: str
    name: str
    failed_at: Second
    at: Second


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """What is told: all that failed before `since`, and the marks in `told`, by the second of the failure.

    `limits` says until when the next finding of a playbook about an owner is withheld.
    """

    version: Literal[1] = VERSION
    since: Second = 0
    told: dict[Second, tuple[Mark, ...]] = {}
    claims: tuple[Claim, ...] = ()
    limits: dict[Mark, Second] = {}


def encode(record: Record) -> bytes:
    """Return the record as JSON; equal records give equal bytes."""
    told, limits = dict(sorted(record.told.items())), dict(sorted(record.limits.items()))
    return msgspec.json.encode(msgspec.structs.replace(record, told=told, limits=limits))


def decode(document: bytes) -> Record:
    """Read a record; unknown fields are skipped.

    Raises NewerVersionError for what only a later program can read, other ValueErrors for what is no record.
    """
    try:
        return msgspec.json.decode(document, type=Record)
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    except msgspec.ValidationError as error:
        if _version(document) > VERSION:
            raise NewerVersionError(f"it has version {_version(document)}, this program knows {VERSION}") from error
        raise


def _version(document: bytes) -> int:
    try:
        return msgspec.json.decode(document, type=_Versioned).version
    except msgspec.ValidationError:
        return VERSION


def baseline(failures: Iterable[tuple[str, int]], now: int, limit: int = MOST_MARKS) -> Record:
    """Return the record of the first start in a cluster: all that has failed by now, (uid, second), counts as told.

    It is marked one by one within `LATE` of the newest failure, because another one of that time may still come to
    light; what is older is only counted as told by its second. Where nothing has failed, whatever will be seen is new.
    The clock only sees to it that a failure of the future (some node's clock is wrong) has a mark as well, and does not
    make all look told that comes before it. Of more than `limit` failures in those seconds the oldest are told by their
    second, up to `now`; a crowd of the future that has no room is told.
    """
    told = _by_second(failures)
    newest = max(told, default=0)
    if len(told.get(newest, ())) > limit:
        return Record(since=min(newest, now) + 1)
    since = max(min(newest, now) - LATE, 0)
    return _shortened(Record(since=since, told=told), _Room(horizon=since, limit=limit, firm=now + 1, most=limit))


def status(record: Record, uid: str, failed_at: int, max_age: int, now: int) -> Status:
    """Say whether a failure is to be told; a claim counts whatever its age."""
    known = _known(record, uid, failed_at)
    if known is None:
        return "old" if failed_at < now - max_age else "new"
    return known


def claim(record: Record, claims: Iterable[Claim]) -> tuple[Record, tuple[str, ...]]:
    """Return the record with these claims, and the uids that were won.

    What is told or claimed already, by whomsoever, is not won, nor is what would be more than `MOST_CLAIMS`. Claim the
    oldest failures first, and prune what is written: then no failure is taken for told because later ones were.
    """
    won: dict[str, Claim] = {}
    for each in claims:
        if len(record.claims) + len(won) < MOST_CLAIMS and _known(record, each.uid, each.failed_at) is None:
            won.setdefault(each.uid, each)
    return msgspec.structs.replace(record, claims=(*record.claims, *won.values())), tuple(won)


def settle(record: Record, uids: Iterable[str]) -> Record:
    """Return the record in which these claims are told; a uid without a claim is ignored."""
    settled = frozenset(uids)
    done = [each for each in record.claims if each.uid in settled]
    told = _by_second((each.uid, each.failed_at) for each in done if each.failed_at >= record.since)
    merged = {second: (*record.told.get(second, ()), *marks) for second, marks in told.items()}
    rest = tuple(each for each in record.claims if each.uid not in settled)
    return msgspec.structs.replace(record, told={**record.told, **merged}, claims=rest)


def held_by(record: Record, identity: str) -> tuple[Claim, ...]:
    """Return the open claims of this replica: what it is telling, or was when it was killed or got no answer.

    What its journal has is only to be settled. The rest it gives up, or takes over from itself before it tells it:
    others may have seen it as orphaned. What it gave up is its own no more.
    """
    return tuple(each for each in record.claims if each.by == identity and each.at != _GIVEN_UP)


def orphans(record: Record, now: int, grace: int) -> tuple[Claim, ...]:
    """Return the claims older than `grace` seconds: their owners are gone or gave up, and any may take them over.

    `grace` must be longer than a living replica takes from claim to settlement, and than clocks differ.
    """
    return tuple(each for each in record.claims if each.at < now - grace)


def take_over(record: Record, claims: Iterable[Claim], by: str, now: int) -> tuple[Record, tuple[str, ...]]:
    """Return the record in which these claims belong to `by` since `now`, and the uids that were won.

    A claim that is not exactly as it was seen (settled, or taken over by another) is not won.
    """
    seen = frozenset(claims)
    won = tuple(each.uid for each in record.claims if each in seen)
    mine = tuple(msgspec.structs.replace(each, by=by, at=now) if each in seen else each for each in record.claims)
    return msgspec.structs.replace(record, claims=mine), won


def give_up(record: Record, claims: Iterable[Claim]) -> tuple[Record, tuple[str, ...]]:
    """Return the record in which anybody may take these claims over at once, and the uids of which that is so now.

    A claim that is not exactly as it was seen stays as it is. The others stay claims: otherwise what is older than
    `since` would look told, and the rate limits that a failure itself has used up would withhold what is said of it.
    Only for whoever holds them, has told none of them, and no longer does.
    """
    seen = frozenset(claims)
    given = tuple(each.uid for each in record.claims if each in seen)
    free = (msgspec.structs.replace(each, at=_GIVEN_UP) if each in seen else each for each in record.claims)
    return msgspec.structs.replace(record, claims=tuple(free)), given


def pruned(record: Record, now: int, max_age: int, limit: int = MOST_MARKS) -> Record:
    """Return the record without what nobody needs to know; its size is at most `SIZE_LIMIT`.

    Marks go when their second is `LATE` older than `max_age`, and, of more than `limit`, the oldest; always a whole
    second, and `since` follows. Within `LATE` of `now`, and later, they go only where there is no room, and `since`
    does not follow: a failure whose time is wrong must not make later ones look told, and rather is told again itself.
    The newest second stays, whatever its size (a controller fails some tens of Jobs in a second), so that no clock of
    ours, however wrong, makes later failures look told. Expired limits go, and of more than `MOST_LIMITS` those that
    expire next.
    """
    lasting = sorted((until, key) for key, until in record.limits.items() if until > now)[-MOST_LIMITS:]
    rest = msgspec.structs.replace(record, limits={key: until for until, key in lasting})
    taken = len(encode(msgspec.structs.replace(rest, told={})))
    most = (SIZE_LIMIT - taken) // _MARK_SIZE
    room = _Room(horizon=now - max_age - LATE, limit=min(limit, most), firm=now - LATE, most=most)
    return _shortened(rest, room)


def flaw(record: Record | None, now: int) -> str | None:
    """Say what is wrong with a record in which even what is yet to fail counts as told."""
    if record is None or record.since <= now + LATE:
        return None
    return (
        f"all that fails in the next {record.since - now} s counts as told: a clock was wrong when the record was "
        "written, or is now; to begin anew, stop all replicas and delete the Lease of the record"
    )


def limit_key(playbook: str, owner: str) -> str:
    """Return the key of the rate limit of a playbook about one owner: a digest, so that its size is known."""
    # Each part is told from the other by its length, whatever characters it has.
    return hashlib.sha256(f"{len(playbook)}:{playbook}{owner}".encode()).hexdigest()[:MARK_LENGTH]


def limited(record: Record, key: str, now: int) -> bool:
    """Say whether a finding under this key is withheld."""
    return now < record.limits.get(key, 0)


def with_limits(record: Record, limits: Mapping[str, int]) -> Record:
    """Return the record in which the next findings of these keys are withheld until the given seconds."""
    return msgspec.structs.replace(record, limits={**record.limits, **limits})


def _known(record: Record, uid: str, failed_at: int) -> Literal["told", "claimed"] | None:
    if any(each.uid == uid for each in record.claims):
        return "claimed"
    told = failed_at < record.since or _mark(uid) in record.told.get(failed_at, ())
    return "told" if told else None


def _mark(uid: str) -> str:
    return uid.replace("-", "")[-MARK_LENGTH:]


def _by_second(failures: Iterable[tuple[str, int]]) -> dict[int, tuple[str, ...]]:
    marks: dict[int, dict[str, None]] = {}
    for uid, second in failures:
        marks.setdefault(second, {})[_mark(uid)] = None
    return {second: tuple(each) for second, each in marks.items()}


class _Room(msgspec.Struct, frozen=True, kw_only=True):
    """Marks before `horizon` go, and the oldest of more than `limit`; from `firm` on those of more than `most`."""

    horizon: int
    limit: int
    firm: int
    most: int


def _shortened(record: Record, room: _Room) -> Record:
    """Leave the newest second, and whole seconds as far as there is room; `since` follows, but not beyond `firm`."""
    kept: dict[int, tuple[str, ...]] = {}
    count = 0
    for second in sorted(record.told, reverse=True):
        count += len(record.told[second])
        limit = room.limit if second < room.firm else room.most
        if kept and (second < room.horizon or count > limit):
            since = max(record.since, min(second + 1, room.firm))
            return msgspec.structs.replace(record, told=kept, since=since)
        kept[second] = record.told[second]
    return msgspec.structs.replace(record, told=kept)
