"""The ledgers of several replicas as one: what was recorded by any of them, in the order of time."""

from __future__ import annotations

import bisect
import heapq
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, wait
from datetime import datetime
from typing import Final, NamedTuple, Protocol, TypeVar

import msgspec

from app.core.change import Entry
from app.core.delivery import Delivery, DeliveryState
from app.core.identity import sequence_of
from app.remote import wire
from app.remote.ledger import RemoteLedger
from app.remote.transport import RemoteError
from app.store.objects import MOST
from app.store.reading import DeliveryCounts, Field, Hits, Page, Position, Reader, Record
from app.store.search.histogram import Bucket
from app.store.search.query import Query
from app.store.search.reader import ActorCount

PATIENCE_SECONDS: Final = 5.0
"""How long others are waited for after one's own answer: longer than each of their answers may take by itself."""

FOLLOW_SECONDS: Final = 1.0
"""How long they are waited for by who follows: what they do not tell now they tell a moment later."""

_MOST_WORDS: Final = 1000
_FORBIDDEN: Final = 403

T = TypeVar("T")


class Neighbour(Protocol):
    """Another replica, and how it was when it was last asked."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def is_self(self) -> bool:
        """Whether it has turned out to be this very process."""

    @property
    def problem(self) -> str:
        """Why it is not asked at the moment; empty where it is."""

    def newest(self, ledger: RemoteLedger) -> int:
        """Return its highest sequence number, as of some tenths of a second ago."""

    def answered(self) -> None:
        """Take note that it does answer."""

    def failed(self, error: RemoteError) -> None:
        """Take note of an answer that did not come."""


class Part(NamedTuple):
    """Another replica, and its ledger."""

    peer: Neighbour
    ledger: RemoteLedger


class _Told(NamedTuple):
    """An entry with what it is ordered by."""

    sequence: int
    id: str
    item: msgspec.Raw


class _Identified(msgspec.Struct):
    id: str


_ORDER: Final = operator.itemgetter(0, 1)
"""By sequence number, and by the rest of the id where several replicas gave the same."""

_ids: Final = msgspec.json.Decoder(_Identified)


class MergedLedger:
    """Reads its own ledger and those of other replicas, all at once.

    A replica that does not answer is left out, and `missing` says why; what the own ledger raises is raised.
    Deliveries are of one replica each: `deliveries` gives the own ones.
    """

    def __init__(self, name: str, own: Reader, others: Sequence[Part], threads: Executor) -> None:
        self.name = name
        self.missing: dict[str, str] = {}
        self._own = own
        self._others = others
        self._threads = threads

    def close(self) -> None:
        """Close the own ledger."""
        self._own.close()

    def search(self, query: Query, *, limit: int, before: int | None = None) -> Page:
        """Return up to `limit` entries below the sequence number `before`, newest first.

        Entries of several replicas that have the same number stay on one page, which may then be larger.
        """

        def page_of(ledger: Reader) -> tuple[int | None, list[_Told]]:
            page = ledger.search(query, limit=limit, before=before)
            return page.next, _told(page.items)

        pages = self._answers(page_of)
        # Below the highest end of a page there may be entries that are not on it.
        end = max((end for end, _ in pages if end is not None), default=None)
        found = heapq.merge(*(told for _, told in pages), key=_ORDER, reverse=True)
        kept = list[_Told]()
        for sequence, group in itertools.groupby(_unique(found), key=operator.attrgetter("sequence")):
            if end is not None and sequence < end:
                break
            together = list(group)
            if kept and len(kept) + len(together) > limit:
                return Page([each.item for each in kept], kept[-1].sequence)
            kept += together
        return Page([each.item for each in kept], end)

    def follow(self, query: Query, position: Position, limit: int) -> tuple[Position, list[msgspec.Raw]]:
        """Return how far each replica was read, and what matches of the next `limit` entries of each, oldest first."""

        def came(ledger: Reader, after: int) -> tuple[int, list[_Told]]:
            reached, items = ledger.follow(query, Position(after), limit)
            return reached.sequence, _told(items)

        def came_to(part: Part) -> tuple[int, list[_Told]]:
            newest = part.peer.newest(part.ledger)
            # Of who was not followed yet, all that comes is told, also what it numbers lower than others do.
            after = position.of.get(part.peer.name, min(position.sequence, newest))
            return came(part.ledger, after) if newest > after else (after, [])

        start = position.of.get(self.name, position.sequence)
        answers = self._each(lambda: came(self._own, start), came_to, FOLLOW_SECONDS)
        reached = {name: sequence for name, (sequence, _) in answers.items()}
        told = heapq.merge(*(told for _, told in answers.values()), key=_ORDER)
        return Position(position.sequence, {**position.of, **reached}), [each.item for each in _unique(told)]

    def histogram(self, query: Query, since: int, until: int, buckets: int) -> list[Bucket]:
        """Count the entries of a query between two times (unix milliseconds, `until` exclusive), in so many buckets.

        There are none where one of the replicas has none: counting would take it too long. What another version counts
        in spans of its own is with that of our spans in which these begin.
        """
        counted = self._answers(lambda ledger: ledger.histogram(query, since, until, buckets))
        if not all(counted):
            return []
        starts = [each.at for each in counted[0]]
        totals, failures = Counter[int](), Counter[int]()
        for each in itertools.chain.from_iterable(counted):
            at = starts[max(bisect.bisect_right(starts, each.at) - 1, 0)]
            totals[at] += each.total
            failures[at] += each.failed
        return [Bucket(at, totals[at], failures[at]) for at in starts]

    def actors(self, since: int, until: int) -> list[ActorCount]:
        """Return who made entries between two times (unix milliseconds, `until` exclusive), the busiest first."""
        summed: dict[str, ActorCount] = {}
        for each in itertools.chain.from_iterable(self._answers(lambda ledger: ledger.actors(since, until))):
            other = summed.get(each.username, ActorCount(each.username, 0, 0))
            newest = max(each.newest, other.newest)
            summed[each.username] = ActorCount(each.username, each.total + other.total, newest)
        return sorted(summed.values(), key=lambda each: (-each.total, each.username))

    def words(self, field: Field, beginning: str = "") -> list[str]:
        """Return the values of a field that begin so, in order; a thousand at most."""
        found = self._answers(lambda ledger: ledger.words(field, beginning))
        return sorted(set(itertools.chain.from_iterable(found)))[:_MOST_WORDS]

    def record(self, entry_id: str) -> Record | None:
        """Return one entry with all about it, None if there is none; raises ValueError for what is no id.

        Others are asked only for what this replica has not recorded itself.
        """
        own = self._own.record(entry_id)
        if own is not None:
            return msgspec.structs.replace(own, replica=self.name)
        answers = self._each(lambda: None, lambda part: part.ledger.record(entry_id))
        found = (msgspec.structs.replace(each, replica=name) for name, each in answers.items() if each is not None)
        return next(found, None)

    def find(self, beginning: str) -> list[msgspec.Raw]:
        """Return the entries, two at most, whose id begins so; raises ValueError for what cannot begin an id."""
        told = heapq.merge(*self._answers(lambda ledger: _told(ledger.find(beginning))), key=_ORDER)
        return [each.item for each in itertools.islice(_unique(told), 2)]

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

        Times are unix milliseconds, `until` exclusive. `group` and `uid` leave out others of the same name.
        """
        most = MOST if most is None else most

        def of_one(ledger: Reader) -> list[Entry]:
            return ledger.of_object(kind, namespace, name, group=group, uid=uid, since=since, until=until, most=most)

        found = {entry.id: entry for entries in self._answers(of_one) for entry in entries}
        return [found[each] for each in sorted(found)[max(len(found) - most, 0) :]]

    def places(self, kind: str, name: str) -> list[str]:
        """Return where objects of this kind and name have been seen; the empty namespace for those of no namespace."""
        return sorted(set(itertools.chain.from_iterable(self._answers(lambda ledger: ledger.places(kind, name)))))

    def recent_objects(self) -> list[tuple[str, str, str]]:
        """Return kind, namespace and name of what changed lately, for completion."""
        found = set(itertools.chain.from_iterable(self._answers(lambda ledger: ledger.recent_objects())))
        return sorted(found, key=operator.itemgetter(0, 2, 1))

    def position(self) -> Position:
        """Return where to follow from, so that nothing is missed that is recorded from now on."""
        answers = self._each(self._own.newest, lambda part: part.ledger.newest())
        return Position(max(answers.values()), answers)

    def newest(self) -> int:
        """Return the highest sequence number, 0 in an empty ledger."""
        return max(self._answers(lambda ledger: ledger.newest()))

    def oldest(self) -> int:
        """Return the lowest sequence number, 0 in an empty ledger."""
        return min(filter(None, self._answers(lambda ledger: ledger.oldest())), default=0)

    def deliveries(
        self, *, state: DeliveryState | None = None, sink: str = "", before: int | None = None, limit: int
    ) -> list[Delivery]:
        """Return the deliveries of this replica, newest first, with ids below `before`."""
        return self._own.deliveries(state=state, sink=sink, before=before, limit=limit)

    def delivery_counts(self) -> DeliveryCounts:
        """Return how many deliveries there are of each state, of all replicas."""
        states, sinks = Counter[str](), set[str]()
        for each in self.counts_by_replica().values():
            states.update(each.states)
            sinks.update(each.sinks)
        return DeliveryCounts(dict(states), tuple(sorted(sinks)))

    def counts_by_replica(self) -> dict[str, DeliveryCounts]:
        """Return how many deliveries each replica has that answers, this one first."""
        return self._each(self._own.delivery_counts, lambda part: part.ledger.delivery_counts())

    def hits(self, since: datetime) -> Hits:
        """Return how often each playbook found something since a moment."""
        found = self._answers(lambda ledger: ledger.hits(since))
        playbooks = Counter[str]()
        for each in found:
            playbooks.update(each.playbooks)
        return Hits(dict(playbooks), all(each.is_all for each in found))

    def _answers(self, question: Callable[[Reader], T]) -> list[T]:
        return list(self._each(lambda: question(self._own), lambda part: question(part.ledger)).values())

    def _each(
        self, own: Callable[[], T], other: Callable[[Part], T], seconds: float = PATIENCE_SECONDS
    ) -> dict[str, T]:
        """Return the own answer, and those of the others that come in time, by the names of the replicas."""
        asked = [
            (part.peer, self._threads.submit(_asked, part, other))
            for part in self._others
            if not self._rests(part.peer)
        ]
        answers = {self.name: own()}
        wait([future for _, future in asked], seconds)
        for peer, future in asked:
            answers.update(self._answer(peer, future, seconds))
        return answers

    def _rests(self, peer: Neighbour) -> bool:
        if problem := peer.problem:
            self.missing[peer.name] = problem
        return bool(problem)

    def _answer(self, peer: Neighbour, future: Future[T], seconds: float) -> dict[str, T]:
        try:
            return {peer.name: future.result(0)}
        except TimeoutError:
            problem = f"does not answer within {seconds:g} s"
            self.missing[peer.name] = problem
            if not future.cancel() and seconds >= PATIENCE_SECONDS:
                # It holds a thread, such as one that looks its name up: no others are to follow.
                peer.failed(RemoteError(problem))
        except RemoteError as error:
            # What may not be seen is not missing.
            if error.status != _FORBIDDEN and not peer.is_self:
                self.missing[peer.name] = str(error)
        return {}


def _asked(part: Part, question: Callable[[Part], T]) -> T:
    """Ask, and have it known how that ended, also where nobody waits for it any more."""
    try:
        answer = question(part)
    except RemoteError as error:
        part.peer.failed(error)
        raise
    part.peer.answered()
    return answer


def _told(items: Iterable[msgspec.Raw]) -> list[_Told]:
    """Return entries with what they are ordered by; raises RemoteError for what is no entry."""
    try:
        return [_Told(sequence_of(each), each, item) for item in items for each in (_ids.decode(item).id,)]
    except ValueError as error:
        raise wire.not_understood(error) from None


def _unique(told: Iterable[_Told]) -> Iterator[_Told]:
    """Leave out what two of the ledgers have, such as where one replica is asked by two names."""
    before = ""
    for each in told:
        if each.id != before:
            yield each
        before = each.id
