"""What pages, the API and commands ask of a ledger: of a file, of a console elsewhere, or of several as one."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from app.core.change import Entry
from app.core.delivery import Delivery, DeliveryState
from app.core.finding import Finding
from app.store.search.histogram import Bucket
from app.store.search.query import Query
from app.store.search.reader import ActorCount

Field: TypeAlias = Literal["kind", "namespace", "name", "username"]
"""What a word can be looked up of."""


class Page(msgspec.Struct, frozen=True):
    """Entries as JSON, newest first, and the sequence number to continue below; None at the end."""

    items: list[msgspec.Raw]
    next: int | None


class Position(msgspec.Struct, frozen=True):
    """How far a ledger was followed: up to this sequence number. `of` says so of a replica that was followed elsewhere.

    Replicas number their entries by the time, each for itself: what one tells late may be before what another told.
    """

    sequence: int
    of: dict[str, int] = {}


class Record(msgspec.Struct, frozen=True):
    """An entry as JSON values, with its findings as a whole and who was told; `replica` made it, where that is said."""

    entry: dict[str, Any]
    findings: list[Finding]
    deliveries: list[Delivery]
    replica: str = ""


class DeliveryCounts(msgspec.Struct, frozen=True):
    """How many deliveries there are of each state, and which sinks have any."""

    states: dict[str, int]
    sinks: tuple[str, ...]


class Hits(msgspec.Struct, frozen=True):
    """How often each playbook found something; `is_all` is False where only the newest findings were counted."""

    playbooks: dict[str, int]
    is_all: bool = True


class Reader(Protocol):
    """A ledger that is read. Not for concurrent use; each thread takes its own, and closes it."""

    def close(self) -> None:
        """Close what was opened."""

    def search(self, query: Query, *, limit: int, before: int | None = None) -> Page:
        """Return up to `limit` entries below the sequence number `before`, newest first.

        A page may hold fewer entries, or none, and still have a `next`.
        """

    def follow(self, query: Query, position: Position, limit: int) -> tuple[Position, list[msgspec.Raw]]:
        """Return how far was read, and what matches of the next `limit` entries or so, oldest first."""

    def histogram(self, query: Query, since: int, until: int, buckets: int) -> list[Bucket]:
        """Count the entries of a query between two times (unix milliseconds, `until` exclusive), in so many buckets."""

    def actors(self, since: int, until: int) -> list[ActorCount]:
        """Return who made entries between two times (unix milliseconds, `until` exclusive), the busiest first."""

    def words(self, field: Field, beginning: str = "") -> list[str]:
        """Return the values of a field that begin so, in order; a thousand at most."""

    def record(self, entry_id: str) -> Record | None:
        """Return one entry with all about it, None if there is none; raises ValueError for what is no id."""

    def find(self, beginning: str) -> list[msgspec.Raw]:
        """Return the entries, two at most, whose id begins so; raises ValueError for what cannot begin an id."""

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
        """Return the newest entries of an object, subresources included, oldest first; all that can be read at most.

        Times are unix milliseconds, `until` exclusive. `group` and `uid` leave out others of the same name.
        """

    def places(self, kind: str, name: str) -> list[str]:
        """Return where objects of this kind and name have been seen; the empty namespace for those of no namespace."""

    def recent_objects(self) -> list[tuple[str, str, str]]:
        """Return kind, namespace and name of what changed lately, for completion."""

    def position(self) -> Position:
        """Return where to follow from, so that nothing is missed that is recorded from now on.

        Its sequence number is the highest that there is.
        """

    def newest(self) -> int:
        """Return the highest sequence number, 0 in an empty ledger."""

    def oldest(self) -> int:
        """Return the lowest sequence number, 0 in an empty ledger."""

    def deliveries(
        self, *, state: DeliveryState | None = None, sink: str = "", before: int | None = None, limit: int
    ) -> list[Delivery]:
        """Return deliveries, newest first, with ids below `before`."""

    def delivery_counts(self) -> DeliveryCounts:
        """Return how many deliveries there are of each state."""

    def hits(self, since: datetime) -> Hits:
        """Return how often each playbook found something since a moment."""
