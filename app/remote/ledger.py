"""The ledger of a console elsewhere, read through its API."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import msgspec

from app.core.change import Entry
from app.core.cursors import decoded
from app.core.delivery import Delivery, DeliveryState
from app.core.finding import Finding
from app.core.identity import first_sequence_at, sequence_of, sequence_range
from app.core.moments import milliseconds, written
from app.remote import wire
from app.remote.transport import RemoteError, Transport
from app.store.objects import MOST
from app.store.reading import DeliveryCounts, Field, Hits, Page, Position, Record
from app.store.search.histogram import Bucket
from app.store.search.query import Query
from app.store.search.reader import ActorCount

LARGEST_PAGE: Final = 500
"""Entries that the API gives at once."""

MOST_ACTORS: Final = 10_000
"""Actors that the API gives."""

_ABSENT: Final = 404
_NO_SUCH_PATH: Final = ": Not Found"
"""How a console's refusal ends where it does not know a path, as one of an older version."""

_entries: Final = msgspec.json.Decoder(Entry)


class _Details(msgspec.Struct, frozen=True):
    findings: list[Finding]
    deliveries: list[Delivery]
    replica: str = ""


class _Deliveries(msgspec.Struct, frozen=True):
    items: list[Delivery]


class _UnknownPathError(RemoteError):
    """A console does not know what it is asked for, let alone the answer."""


class _Replica(msgspec.Struct, frozen=True):
    name: str


class _Replicas(msgspec.Struct, frozen=True):
    items: list[_Replica]


class RemoteLedger:
    """Reads the ledger of a console; raises RemoteError from every method where that does not answer.

    With `replica`, only what this one of several has recorded. Times are those of the ledger to the millisecond.
    """

    def __init__(self, transport: Transport, replica: str = "") -> None:
        self._transport = transport
        self._always = {"replica": replica} if replica else {}

    def close(self) -> None:
        """Do nothing: the transport is its owner's."""

    def search(self, query: Query, *, limit: int, before: int | None = None) -> Page:
        """Return up to `limit` entries, 500 at most, below the sequence number `before`, newest first."""
        asked = {**wire.parameters(query), **wire.cursor(before), "limit": str(min(limit, LARGEST_PAGE))}
        page = wire.read(self._get("entries", asked), wire.Items)
        following = None if page.next is None else _number(page.next)
        if following is not None and before is not None and following >= before:
            raise wire.not_understood(ValueError("a page continues where it began"))  # whoever reads all would not end
        return Page(page.items, following)

    def follow(self, query: Query, position: Position, limit: int) -> tuple[Position, list[msgspec.Raw]]:
        """Return how far was read, and what matches of the next `limit` entries or so, oldest first."""
        after = {"after": wire.written_position(position), "limit": str(min(limit, LARGEST_PAGE))}
        came = wire.read(self._get("follow", {**wire.parameters(query), **after}), wire.Items)
        return _position(came.position), came.items

    def histogram(self, query: Query, since: int, until: int, buckets: int) -> list[Bucket]:
        """Count the entries of a query between two times (unix milliseconds, `until` exclusive), in so many buckets."""
        if since >= until:
            return []
        span = {"from": written(since), "to": written(until), "buckets": str(buckets)}
        found = wire.read(self._get("histogram", {**wire.parameters(query), **span}), wire.Counts)
        return [Bucket(_milliseconds(each.at), each.total, each.failed) for each in found.buckets]

    def actors(self, since: int, until: int) -> list[ActorCount]:
        """Return who made entries between two times (unix milliseconds, `until` exclusive), the busiest first.

        There are 10,000 at most. `newest` is the first sequence number of the right millisecond.
        """
        asked = {"since": written(since), "until": written(until), "limit": str(MOST_ACTORS)}
        found = wire.read(self._get("actors", asked), wire.Actors).items
        return [ActorCount(each.user, each.total, first_sequence_at(_milliseconds(each.last))) for each in found]

    def words(self, field: Field, beginning: str = "") -> list[str]:
        """Return the values of a field that begin so, in order; a thousand at most."""
        return wire.read(self._get("words", {"field": wire.FIELDS[field], "beginning": beginning}), wire.Words).items

    def record(self, entry_id: str) -> Record | None:
        """Return one entry with all about it, None if there is none; raises ValueError for what is no id."""
        sequence_of(entry_id)
        try:
            body = self._get(f"entries/{entry_id}", {})
        except RemoteError as error:
            if error.status == _ABSENT and not isinstance(error, _UnknownPathError):
                return None
            raise
        document, details = wire.read(body, dict[str, Any]), wire.read(body, _Details)
        entry = {name: value for name, value in document.items() if name not in ("deliveries", "replica")}
        # The API gives the findings as a whole where an entry has their heads.
        entry["findings"] = [
            {"playbook": each.playbook, "title": each.title, "severity": each.severity.value}
            for each in details.findings
        ]
        return Record(entry, details.findings, details.deliveries, details.replica)

    def find(self, beginning: str) -> list[msgspec.Raw]:
        """Return the entries, two at most, whose id begins so; raises ValueError for what cannot begin an id."""
        sequence_range(beginning)
        return wire.read(self._get("entries", {"id": beginning}), wire.Items).items

    def of_object(
        self,
        kind: str,
        namespace: str,
        name: str,
        *,
        group: str | None = None,
        uid: str = "",
        since: int | None = None,
        until: int | None = None,
        most: int | None = None,
    ) -> list[Entry]:
        """Return the newest entries of an object, subresources included, oldest first; 5,000 at most.

        Times are unix milliseconds, `until` exclusive. `group` and `uid` leave out others of the same name. There are
        none of what has no name.
        """
        if not name:
            return []
        query = Query(kind=kind, namespace=namespace, name=name, since=since, until=until)
        found = list[Entry]()
        for entry in self._newest(query, namespace, MOST if most is None else most):
            is_of_group = group is None or entry.resource.group == group
            if is_of_group and (not uid or entry.resource.uid in ("", uid)):
                found.append(entry)
        return found[::-1]

    def _newest(self, query: Query, namespace: str, most: int) -> Iterator[Entry]:
        """Yield the newest entries that can be read, page by page, newest first."""
        before: int | None = None
        while most > 0:
            page = self.search(query, limit=most, before=before)
            for item in page.items:
                with contextlib.suppress(msgspec.MsgspecError):  # damaged, or of a newer version
                    entry = _entries.decode(item)
                    # A query of no namespace is one of all.
                    if entry.resource.namespace == namespace:
                        most -= 1
                        yield entry
            before = page.next
            if before is None:
                return

    def places(self, kind: str, name: str) -> list[str]:
        """Return where objects of this kind and name have been seen; the empty namespace for those of no namespace."""
        return wire.read(self._get("places", {"kind": kind, "name": name}), wire.Words).items

    def recent_objects(self) -> list[tuple[str, str, str]]:
        """Return kind, namespace and name of what changed lately, for completion."""
        found = wire.read(self._get("recent", {}), wire.SeenObjects).items
        return [(each.kind, each.namespace, each.name) for each in found]

    def position(self) -> Position:
        """Return where to follow from, so that nothing is missed that is recorded from now on."""
        return _position(self._span().position)

    def newest(self) -> int:
        """Return the highest sequence number, 0 in an empty ledger."""
        newest = self._span().newest
        return 0 if newest is None else _number(newest)

    def oldest(self) -> int:
        """Return the lowest sequence number, 0 in an empty ledger."""
        oldest = self._span().oldest
        return 0 if oldest is None else _number(oldest)

    def _span(self) -> wire.Span:
        return wire.read(self._get("span", {}), wire.Span)

    def deliveries(
        self, *, state: DeliveryState | None = None, sink: str = "", before: int | None = None, limit: int
    ) -> list[Delivery]:
        """Return deliveries of one replica, 500 at most, newest first, with ids below `before`.

        Without `replica` they are those of the one that answers.
        """
        chosen = {name: text for name, text in (("state", state or ""), ("sink", sink)) if text}
        asked = {**chosen, **wire.cursor(before), "limit": str(min(limit, LARGEST_PAGE))}
        return wire.read(self._get("deliveries", asked), _Deliveries).items

    def delivery_counts(self) -> DeliveryCounts:
        """Return how many deliveries there are of each state."""
        return wire.read(self._get("deliveries/counts", {}), DeliveryCounts)

    def hits(self, since: datetime) -> Hits:
        """Return how often each playbook found something since a moment."""
        return wire.read(self._get("hits", {"since": written(milliseconds(since))}), Hits)

    def replicas(self) -> list[str]:
        """Return the names of all replicas, first the one that answers; none where the console is the only one."""
        return [each.name for each in wire.read(self._get("replicas", {}), _Replicas).items]

    def of_replica(self, name: str) -> RemoteLedger:
        """Return the ledger of one of the replicas alone, by the same way."""
        return RemoteLedger(self._transport, name)

    def _get(self, path: str, asked: dict[str, str]) -> bytes:
        try:
            return self._transport.get(f"api/v1/{quote(path)}", {**asked, **self._always})
        except RemoteError as error:
            if error.status != _ABSENT or not str(error).endswith(_NO_SUCH_PATH):
                raise
            raise _UnknownPathError(f"{error}: it is of an older version, or no console", error.status) from error


def _number(cursor: str) -> int:
    try:
        return decoded(cursor)
    except ValueError as error:
        raise wire.not_understood(error) from None


def _position(text: str) -> Position:
    try:
        return wire.read_position(text)
    except ValueError as error:
        raise wire.not_understood(error) from None


def _milliseconds(moment: str) -> int:
    try:
        return milliseconds(datetime.fromisoformat(moment))
    except (TypeError, ValueError) as error:
        raise wire.not_understood(error) from None
