"""The ledger of a console elsewhere, read through its API."""

from __future__ import annotations

from datetime import datetime

import msgspec

from app.core.change import Entry
from app.core.delivery import Delivery, DeliveryState
from app.remote.transport import Transport
from app.store.reading import DeliveryCounts, Field, Hits, Page, Position, Record
from app.store.search.histogram import Bucket
from app.store.search.query import Query
from app.store.search.reader import ActorCount


class RemoteLedger:
    """Reads the ledger of a console; raises RemoteError from every method where that does not answer."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def close(self) -> None:
        """Do nothing: the transport is its owner's."""

    def search(self, query: Query, *, limit: int, before: int | None = None) -> Page:
        """Return up to `limit` entries below the sequence number `before`, newest first."""
        raise NotImplementedError

    def follow(self, query: Query, position: Position, limit: int) -> tuple[Position, list[msgspec.Raw]]:
        """Return how far was read, and what matches of the next `limit` entries or so, oldest first."""
        raise NotImplementedError

    def histogram(self, query: Query, since: int, until: int, buckets: int) -> list[Bucket]:
        """Count the entries of a query between two times (unix milliseconds, `until` exclusive), in so many buckets."""
        raise NotImplementedError

    def actors(self, since: int, until: int) -> list[ActorCount]:
        """Return who made entries between two times (unix milliseconds, `until` exclusive), the busiest first."""
        raise NotImplementedError

    def words(self, field: Field, beginning: str = "") -> list[str]:
        """Return the values of a field that begin so, in order; a thousand at most."""
        raise NotImplementedError

    def record(self, entry_id: str) -> Record | None:
        """Return one entry with all about it, None if there is none; raises ValueError for what is no id."""
        raise NotImplementedError

    def find(self, beginning: str) -> list[msgspec.Raw]:
        """Return the entries, two at most, whose id begins so; raises ValueError for what cannot begin an id."""
        raise NotImplementedError

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
        """Return the newest entries of an object, subresources included, oldest first; 5,000 at most."""
        raise NotImplementedError

    def places(self, kind: str, name: str) -> list[str]:
        """Return where objects of this kind and name have been seen; the empty namespace for those of no namespace."""
        raise NotImplementedError

    def recent_objects(self) -> list[tuple[str, str, str]]:
        """Return kind, namespace and name of what changed lately, for completion."""
        raise NotImplementedError

    def newest(self) -> int:
        """Return the highest sequence number, 0 in an empty ledger."""
        raise NotImplementedError

    def oldest(self) -> int:
        """Return the lowest sequence number, 0 in an empty ledger."""
        raise NotImplementedError

    def deliveries(
        self, *, state: DeliveryState | None = None, sink: str = "", before: int | None = None, limit: int
    ) -> list[Delivery]:
        """Return deliveries, newest first, with ids below `before`."""
        raise NotImplementedError

    def delivery_counts(self) -> DeliveryCounts:
        """Return how many deliveries there are of each state."""
        raise NotImplementedError

    def hits(self, since: datetime) -> Hits:
        """Return how often each playbook found something since a moment."""
        raise NotImplementedError
