"""What pages ask the store and the core for. The only module of the pages that knows how."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from app.core.actors import ActorKind, actor_kind
from app.core.change import Entry, FieldChange
from app.core.comparison import compare
from app.core.delivery import Delivery, DeliveryState
from app.core.finding import Finding
from app.core.history import Life, story
from app.core.identity import first_sequence_at, sequence_of
from app.core.moments import milliseconds, written
from app.core.undo import Refusal, Undo, undo
from app.store import objects
from app.store.deliveries import deliveries_of, list_deliveries, requeue
from app.store.encoding import read_finding_head
from app.store.ledger import Ledger, Query

PAGE: Final = 50
STORY: Final = 300
"""Entries of an object that its page tells, the newest ones."""

_BUCKETS: Final = 72
_MOST_LATER: Final = 1000
_AT_ONCE: Final = 200
"""Entries that are read together while the ledger is followed."""

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

    `later` are oldest first; where there are more than can be told, they are the newest ones, and `after` is None.
    """

    entry: Entry
    findings: tuple[Finding, ...]
    deliveries: tuple[Delivery, ...]
    before: Entry | None
    later: tuple[Entry, ...]
    undo: Undo | Refusal

    @property
    def after(self) -> Entry | None:
        """The next entry of the object."""
        return self.later[0] if self.later and len(self.later) < _MOST_LATER - 1 else None


class DeliveryCounts(msgspec.Struct, frozen=True):
    """How many deliveries there are of each state, and which sinks have any."""

    states: dict[str, int]
    sinks: tuple[str, ...]


def find(ledger: Ledger, query: Query, before: int | None) -> Found:
    """Return a page of entries, newest first."""
    page = ledger.search(query, limit=PAGE, before=before)
    entries, unreadable = _decoded(page.items)
    return Found(entries=entries, next=page.next, unreadable=unreadable)


def came_after(ledger: Ledger, query: Query, sequence: int) -> tuple[Entry, ...]:
    """Return up to a page of what came after an entry, newest first; of more than that the newest."""
    since = max(query.since or 0, sequence >> 12)
    page = ledger.search(msgspec.structs.replace(query, since=since), limit=PAGE)
    return tuple(entry for entry in _decoded(page.items)[0] if sequence_of(entry.id) > sequence)


def next_after(ledger: Ledger, query: Query, sequence: int) -> tuple[int, tuple[msgspec.Raw, ...]]:
    """Return how far the ledger was read on from a sequence number, and what matches in between, oldest first."""
    came = ledger.after(sequence, _AT_ONCE)
    if not came or query == Query():
        return (came[-1][0] if came else sequence), tuple(document for _, document in came)
    first, last = came[0][0], came[-1][0]
    # The search knows the filters. It goes backwards, so it is kept to what just came, from that millisecond on.
    bounded = msgspec.structs.replace(query, since=max(query.since or 0, first >> 12))
    found, before = list[msgspec.Raw](), last + 1
    while before:
        page = ledger.search(bounded, limit=_AT_ONCE, before=before)
        found += [item for item in page.items if sequence_of(id_of(item)) > sequence]
        before = page.next or 0
    return last, tuple(reversed(found))


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


def histogram(ledger: Ledger, query: Query, now: datetime) -> tuple[Bar, ...]:
    """Return how many entries there are over the time of the query, or of the ledger where it names none."""
    since = ledger.oldest() >> 12 if query.since is None else query.since
    until = milliseconds(now) if query.until is None else min(query.until, milliseconds(now))
    if not since or until - since < _BUCKETS:
        return ()
    buckets = ledger.histogram(query, since, until, _BUCKETS)
    starts = [each.at for each in buckets]
    ends = [*starts[1:], until]
    return tuple(
        Bar(since=written(each.at), until=written(end), total=each.total, failed=each.failed)
        for each, end in zip(buckets, ends, strict=True)
    )


def known(ledger: Ledger) -> Known:
    """Return what a form can complete."""
    return Known(tuple(ledger.kinds()[:_MOST_KNOWN]), tuple(ledger.namespaces()[:_MOST_KNOWN]))


def is_empty(ledger: Ledger) -> bool:
    """Say whether nothing was ever recorded, or all was forgotten."""
    return ledger.newest() == 0


def tell(ledger: Ledger, entry_id: str) -> Told | None:
    """Return an entry with all about it, None where there is none; raises ValueError for what is no id."""
    sequence = sequence_of(entry_id)
    found = ledger.get(entry_id.lower())
    if found is None:
        return None
    entry = msgspec.convert(found, Entry)
    before, later = _neighbours(ledger, entry)
    return Told(
        entry=entry,
        findings=tuple(ledger.findings(sequence)),
        deliveries=tuple(deliveries_of(ledger.connection, sequence)),
        before=before,
        later=later,
        undo=undo(entry, None, later=later),
    )


def _neighbours(ledger: Ledger, entry: Entry) -> tuple[Entry | None, tuple[Entry, ...]]:
    """Return what was recorded of the same object before, and all that was after; nothing of what has no name."""
    resource, sequence = entry.resource, sequence_of(entry.id)
    if not resource.name:
        return None, ()
    identity, at = (resource.kind, resource.namespace, resource.name), sequence >> 12
    # Whatever shares the millisecond is on either side.
    earlier = objects.of_object(ledger.connection, *identity, group=resource.group, until=at + 1, most=_AT_ONCE)
    later = objects.of_object(ledger.connection, *identity, group=resource.group, since=at, most=_MOST_LATER)
    before = [each for each in earlier if sequence_of(each.id) < sequence]
    return before[-1] if before else None, tuple(each for each in later if sequence_of(each.id) > sequence)


def of_object(ledger: Ledger, kind: str, namespace: str, name: str) -> tuple[Entry, ...]:
    """Return the newest entries of an object, oldest first."""
    return tuple(objects.of_object(ledger.connection, kind, namespace, name, most=STORY))


def lives(entries: Sequence[Entry]) -> tuple[Life, ...]:
    """Return an object's entries as one story."""
    return story(entries)


def net_changes(entries: Sequence[Entry], since: datetime, until: datetime) -> tuple[FieldChange, ...]:
    """Return in what an object differs between two moments."""
    return tuple(compare(entries, since, until))


def deliveries(
    ledger: Ledger, state: DeliveryState | None, sink: str, before: int | None
) -> tuple[list[Delivery], int | None]:
    """Return a page of deliveries, newest first, and the id to continue below."""
    items = list_deliveries(ledger.connection, state=state, sink=sink, before=before, limit=PAGE)
    return items, items[-1].id if len(items) == PAGE else None


def delivery_counts(connection: sqlite3.Connection) -> DeliveryCounts:
    """Return how many deliveries there are of each state."""
    states = dict(connection.execute("SELECT state, count(*) FROM deliveries GROUP BY state"))
    sinks = connection.execute("SELECT DISTINCT sink FROM deliveries ORDER BY sink")
    return DeliveryCounts(states, tuple(sink for (sink,) in sinks))


def dead_letters(connection: sqlite3.Connection) -> int:
    """Return how many deliveries were given up."""
    return int(connection.execute("SELECT count(*) FROM deliveries WHERE state = 'dead'").fetchone()[0])


def queue_again(journal: Path, ids: Sequence[int], sink: str) -> int:
    """Make dead deliveries pending again; return how many."""
    return requeue(journal, ids=ids, sink=sink)


def hits(ledger: Ledger, since: datetime) -> tuple[dict[str, int], bool]:
    """Return how often each playbook found something since a moment, and whether that is all, or only the newest."""
    rows = ledger.connection.execute(
        "SELECT body FROM findings WHERE seq >= ? ORDER BY seq DESC LIMIT ?",
        (first_sequence_at(milliseconds(since)), _MOST_FINDINGS + 1),
    )
    playbooks = [read_finding_head(body).playbook for (body,) in rows]
    return dict(Counter(playbooks[:_MOST_FINDINGS])), len(playbooks) <= _MOST_FINDINGS


def span(ledger: Ledger) -> tuple[str, str]:
    """Return when the oldest and the newest entry came; empty in an empty ledger."""
    oldest, newest = ledger.connection.execute("SELECT min(seq), max(seq) FROM entries").fetchone()
    return ("", "") if oldest is None else (written(oldest >> 12), written(newest >> 12))


class ActorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Who changed how much; `last` is when, RFC 3339."""

    username: str
    kind: ActorKind
    total: int
    last: str


def actors(ledger: Ledger, since: datetime, until: datetime) -> list[ActorFacts]:
    """Return who changed something between two moments, the busiest first."""
    found = ledger.actors(milliseconds(since), milliseconds(until))
    return [
        ActorFacts(
            username=each.username, kind=actor_kind(each.username), total=each.total, last=written(each.newest >> 12)
        )
        for each in found[:_MOST_ACTORS]
        if each.username
    ]
