"""What pages ask the store and the core for. The only module of the pages that knows how."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec

from app.core.actors import ActorKind, actor_kind
from app.core.change import Entry, FieldChange
from app.core.comparison import compare
from app.core.delivery import Delivery, DeliveryState
from app.core.finding import Finding
from app.core.history import Life, story
from app.core.identity import sequence_of
from app.core.moments import milliseconds, written
from app.core.undo import Refusal, Undo, undo
from app.remote.merged import MergedLedger
from app.store.reading import DeliveryCounts, Position, Reader
from app.store.search.query import Query

PAGE: Final = 50
STORY: Final = 300
"""Entries of an object that its page tells, the newest ones."""

_BUCKETS: Final = 72
_MOST_LATER: Final = 1000
_AT_ONCE: Final = 200
"""Entries that are read together while the ledger is followed."""

_LATELY: Final = 20
_REFUSED: Final[tuple[DeliveryState, ...]] = ("pending", "dead")
_ROUNDS: Final = 6
"""How often it is read on for a page that is open, before only the newest entries are looked for."""

_MOST_ROWS: Final = 200
"""Rows that are added to a page at once."""

_MOST_ACTORS: Final = 200
_MOST_KNOWN: Final = 300
_MOST_FINDINGS: Final = 20_000
"""Findings that are counted for the status page: reading one costs some microseconds."""

_entry: Final = msgspec.json.Decoder(Entry)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the timeline. `next` continues it; `unreadable` entries are left out."""

    entries: tuple[Entry, ...]
    next: int | None
    unreadable: int = 0

    @property
    def searched_back_to(self) -> str:
        """Return when the first entry came that was not looked at; empty where all were."""
        return "" if self.next is None else written(self.next >> 12)


class Known(msgspec.Struct, frozen=True):
    """Words that a form can complete."""

    kinds: tuple[str, ...]
    namespaces: tuple[str, ...]


class Bar(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the histogram; times are RFC 3339, `until` exclusive."""

    since: str
    until: str
    total: int
    failed: int


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """An entry with all that its page shows: whole findings, deliveries, and its neighbours in the object's history.

    `replica` has recorded it, where there are several. `later` are oldest first; where there are more than can be told,
    they are the newest ones, and `after` is None.
    """

    entry: Entry
    findings: tuple[Finding, ...]
    deliveries: tuple[Delivery, ...]
    before: Entry | None
    later: tuple[Entry, ...]
    undo: Undo | Refusal
    replica: str = ""

    @property
    def after(self) -> Entry | None:
        """The next entry of the object."""
        return self.later[0] if self.later and len(self.later) < _MOST_LATER - 1 else None


def find(ledger: Reader, query: Query, before: int | None) -> Found:
    """Return a page of entries, newest first."""
    page = ledger.search(query, limit=PAGE, before=before)
    entries, unreadable = _decoded(page.items)
    return Found(entries=entries, next=page.next, unreadable=unreadable)


class Came(msgspec.Struct, frozen=True):
    """What came since a page was shown, newest first, and where to go on."""

    entries: tuple[Entry, ...]
    position: Position


def came_after(ledger: Reader, query: Query, position: Position) -> Came:
    """Return what came after a position, newest first; where that is very much, the newest page of it.

    What a replica tells late comes, too, though it is older than what others have told before.
    """
    items, reached = list[msgspec.Raw](), position
    for _ in range(_ROUNDS):
        before = reached
        reached, came = ledger.follow(query, before, _AT_ONCE)
        items += came
        if reached == before and len(items) <= _MOST_ROWS:
            entries = _decoded(items)[0]
            return Came(tuple(sorted(entries, key=lambda each: each.id, reverse=True)), reached)
    return _newest_after(ledger, query, position)


def _newest_after(ledger: Reader, query: Query, position: Position) -> Came:
    reached, since = ledger.position(), max(query.since or 0, position.sequence >> 12)
    page = ledger.search(msgspec.structs.replace(query, since=since), limit=PAGE)
    entries = _decoded(page.items)[0]
    return Came(tuple(entry for entry in entries if sequence_of(entry.id) > position.sequence), reached)


def id_of(item: msgspec.Raw) -> str:
    """Return the id of an entry that is JSON."""
    return msgspec.json.decode(item, type=_Identified).id


class _Identified(msgspec.Struct):
    id: str


def _decoded(items: Iterable[Any]) -> tuple[tuple[Entry, ...], int]:
    """Read entries; one that was damaged, or comes from a newer version, must not hide the others."""
    read, unreadable = list[Entry](), 0
    for item in items:
        try:
            read.append(_entry.decode(item))
        except msgspec.MsgspecError:
            unreadable += 1
    return tuple(read), unreadable


def histogram(ledger: Reader, query: Query, now: datetime) -> tuple[Bar, ...]:
    """Return how many entries there are over the time of the query, or of the ledger where it names none."""
    since = ledger.oldest() >> 12 if query.since is None else query.since
    until = milliseconds(now) if query.until is None else min(query.until, milliseconds(now))
    if not since or until - since < _BUCKETS:
        return ()
    buckets = ledger.histogram(query, since, until, _BUCKETS)
    starts = [each.at for each in buckets]
    ends = [*starts[1:], until] if starts else []
    return tuple(
        Bar(since=written(each.at), until=written(end), total=each.total, failed=each.failed)
        for each, end in zip(buckets, ends, strict=True)
    )


def known(ledger: Reader) -> Known:
    """Return what a form can complete."""
    return Known(tuple(ledger.words("kind")[:_MOST_KNOWN]), tuple(ledger.words("namespace")[:_MOST_KNOWN]))


def position(ledger: Reader) -> Position:
    """Return where to follow from; its sequence number is 0 where nothing was ever recorded, or all was forgotten."""
    return ledger.position()


def tell(ledger: Reader, entry_id: str) -> Told | None:
    """Return an entry with all about it, None where there is none; raises ValueError for what is no id."""
    found = ledger.record(entry_id)
    if found is None:
        return None
    entry = msgspec.convert(found.entry, Entry)
    before, later = _neighbours(ledger, entry)
    return Told(
        entry=entry,
        findings=tuple(found.findings),
        deliveries=tuple(found.deliveries),
        before=before,
        later=later,
        undo=undo(entry, None, later=later),
        replica=found.replica,
    )


def _neighbours(ledger: Reader, entry: Entry) -> tuple[Entry | None, tuple[Entry, ...]]:
    """Return what was recorded of the same object before, and all that was after; nothing of what has no name."""
    resource, sequence = entry.resource, sequence_of(entry.id)
    if not resource.name:
        return None, ()
    identity, at = (resource.kind, resource.namespace, resource.name), sequence >> 12
    # Whatever shares the millisecond is on either side.
    earlier = ledger.of_object(*identity, group=resource.group, until=at + 1, most=_AT_ONCE)
    later = ledger.of_object(*identity, group=resource.group, since=at, most=_MOST_LATER)
    before = [each for each in earlier if sequence_of(each.id) < sequence]
    return before[-1] if before else None, tuple(each for each in later if sequence_of(each.id) > sequence)


def of_object(ledger: Reader, kind: str, namespace: str, name: str) -> tuple[Entry, ...]:
    """Return the newest entries of an object, oldest first."""
    return tuple(ledger.of_object(kind, namespace, name, most=STORY))


def lives(entries: Sequence[Entry]) -> tuple[Life, ...]:
    """Return an object's entries as one story."""
    return story(entries)


def net_changes(entries: Sequence[Entry], since: datetime, until: datetime) -> tuple[FieldChange, ...]:
    """Return in what an object differs between two moments."""
    return tuple(compare(entries, since, until))


def deliveries(
    ledger: Reader, state: DeliveryState | None, sink: str, before: int | None
) -> tuple[list[Delivery], int | None]:
    """Return a page of deliveries, newest first, and the id to continue below."""
    items = ledger.deliveries(state=state, sink=sink, before=before, limit=PAGE)
    return items, items[-1].id if len(items) == PAGE else None


class Trouble(msgspec.Struct, frozen=True):
    """What a sink said when it last refused something; `is_over` where it has taken something since."""

    text: str
    is_over: bool


def trouble(ledger: Reader, sink: str) -> Trouble | None:
    """Return what a sink said to the newest delivery that waits or was given up; None where it took all."""
    refused = [
        each
        for state in _REFUSED
        for each in ledger.deliveries(state=state, sink=sink, limit=_LATELY)
        if each.last_error
    ]
    if not refused:
        return None
    last = max(refused, key=lambda each: each.updated_at)
    taken = ledger.deliveries(state="delivered", sink=sink, limit=1)
    return Trouble(last.last_error, is_over=any(each.updated_at > last.updated_at for each in taken))


def counts_by_replica(ledger: Reader) -> dict[str, DeliveryCounts]:
    """Return how many deliveries each replica has that answers, first the own one; it has no name where it is alone."""
    return ledger.counts_by_replica() if isinstance(ledger, MergedLedger) else {"": ledger.delivery_counts()}


def span(ledger: Reader) -> tuple[str, str]:
    """Return when the oldest and the newest entry came; empty in an empty ledger."""
    oldest, newest = ledger.oldest(), ledger.newest()
    return (written(oldest >> 12), written(newest >> 12)) if oldest else ("", "")


class ActorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Who changed how much; `last` is when, RFC 3339."""

    username: str
    kind: ActorKind
    total: int
    last: str


def actors(ledger: Reader, since: datetime, until: datetime) -> list[ActorFacts]:
    """Return who changed something between two moments, the busiest first."""
    found = ledger.actors(milliseconds(since), milliseconds(until))
    return [
        ActorFacts(
            username=each.username, kind=actor_kind(each.username), total=each.total, last=written(each.newest >> 12)
        )
        for each in found[:_MOST_ACTORS]
        if each.username
    ]
