"""What becomes of claimed deliveries: kept back by the sink's grouping, told together, or sent one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final, TypeVar

import msgspec

from app.core.delivery import Claimed, Memory, Settlement
from app.core.finding import Notification
from app.core.grouping import Attribute, Grouping, SummaryMode
from app.core.moments import milliseconds, moment_at
from app.delivery.digest import bundle, digest
from app.delivery.grouping import Counted, Group, described, group_key, values
from app.delivery.queue import DeliveryQueue
from app.sinks.base import Sink, ThreadedSink

GROUP_FOLD: Final = "group:"
"""Begins the fold of deliveries that wait for the end of their group's interval."""

BACKLOG_BY: Final[tuple[Attribute, ...]] = ("identifier", "kind", "namespace")
"""What the table of a digest is by, where the sink's grouping does not say it."""

TOO_MUCH: Final = "more at once than this receiver takes"

# Memories outlive their groups by this much: what was counted, and failed since, is not counted again.
_GRACE: Final = timedelta(days=1)

_S = TypeVar("_S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Step:
    """One message to the receiver.

    Its failure is an attempt of all `claimed`, its success delivers them if it `delivers`; `memories` are those to be
    written with that.
    """

    lane: str
    claimed: tuple[Claimed, ...]
    send: Callable[[], Awaitable[None]]
    delivers: bool = True
    memories: Callable[[], tuple[Memory, ...]] = tuple


@dataclass(frozen=True, slots=True)
class Plan:
    """What is settled at once, in one transaction with the memories, and the messages to send then, in order."""

    settlements: list[Settlement] = field(default_factory=list)
    memories: list[Memory] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)


class _Held(msgspec.Struct, frozen=True):
    """Until when (unix milliseconds) the notifications of a group wait."""

    until: int


def lane_of(sink: Sink[Any], notification: Notification) -> str:
    """Return the notification's lane; nothing where the sink cannot tell, so that only its sending fails."""
    try:
        return sink.lane(notification)
    except Exception:  # noqa: BLE001  a bug of the sink's must not keep what was claimed with it from being sent
        return ""


class Planner:
    """Plans for one sink. `link` returns the address of an entry's page, or nothing."""

    def __init__(
        self, sink: Sink[Any], queue: DeliveryQueue, clock: Callable[[], datetime], link: Callable[[str], str]
    ) -> None:
        self._sink = sink
        self._queue = queue
        self._clock = clock
        self._link = link
        self._grouping: Grouping | None = sink.config.grouping
        self._name: str = sink.config.name

    async def begin(self) -> None:
        """Have nothing wait for longer than the sink's options say now: those that held it may have been others."""
        interval = self._grouping.interval if self._grouping and self._holds else 0
        await self._queue.hasten(self._name, GROUP_FOLD, self._clock() + timedelta(seconds=interval))

    @property
    def _holds(self) -> bool:
        """Whether a group waits for the end of its interval: nothing that was sent can be brought up to date."""
        threads = isinstance(self._sink, ThreadedSink) and self._sink.threads
        return bool(self._grouping and self._grouping.notification_mode.summary) and not threads

    async def plan(self, deliveries: Iterable[Claimed], *, backlog: bool) -> Plan:
        """Return what to do with what was claimed; of a `backlog` the deliveries are light, and told together."""
        plan, kept = Plan(), [self._linked(each) for each in deliveries]
        grouping, mode = self._grouping, self._grouping and self._grouping.notification_mode
        if grouping and mode and mode.regular:
            kept = await self._not_ignored(kept, grouping, mode.regular.ignore_first, plan)
        if grouping and self._holds:
            kept = await self._not_held(kept, grouping, plan)
        if backlog:
            kept = await self._bundled(kept)
        if grouping and mode and mode.summary and not self._holds:
            await self._in_threads(kept, grouping, mode.summary, plan)
        else:
            plan.steps.extend(self._alone(each) for each in kept)
        return plan

    def _linked(self, claimed: Claimed) -> Claimed:
        link = self._link(claimed.notification.entry.id)
        return msgspec.structs.replace(claimed, notification=msgspec.structs.replace(claimed.notification, link=link))

    def _alone(self, claimed: Claimed) -> Step:
        notification = self._shown(claimed)
        lane = lane_of(self._sink, notification)
        return Step(lane=lane, claimed=claimed.every, send=lambda: self._sink.send(notification))

    def _shown(self, claimed: Claimed) -> Notification:
        """Return what is sent for a delivery, or for many: a digest, unless all say the same."""
        if claimed.others and claimed.fold.startswith(GROUP_FOLD):
            grouping = self._grouping or Grouping()
            return digest(claimed, described(claimed.notification, grouping.group_by), self._by)
        if len({each.fold for each in claimed.every}) > 1 or (claimed.others and not claimed.fold):
            return digest(claimed, TOO_MUCH, self._by)
        return claimed.notification

    @property
    def _by(self) -> Sequence[Attribute]:
        summary = self._grouping and self._grouping.notification_mode.summary
        return summary.by if summary else BACKLOG_BY

    def _key(self, claimed: Claimed, grouping: Grouping) -> str:
        return group_key(claimed.notification, grouping, lane_of(self._sink, claimed.notification))

    async def _bundled(self, deliveries: Sequence[Claimed]) -> list[Claimed]:
        """Return one delivery for all of a lane and group; one that is alone is read whole."""
        bundles: dict[tuple[str, str], list[Claimed]] = {}
        for each in deliveries:
            bundles.setdefault(self._bundle_key(each), []).append(each)
        bundled = [bundle(every) if len(every) > 1 else await self._whole(every[0]) for every in bundles.values()]
        return [each for each in bundled if each is not None]

    def _bundle_key(self, claimed: Claimed) -> tuple[str, str]:
        if claimed.fold.startswith(GROUP_FOLD):
            return "", claimed.fold
        group = "" if self._grouping is None else self._key(claimed, self._grouping)
        return lane_of(self._sink, claimed.notification), group

    async def _whole(self, claimed: Claimed) -> Claimed | None:
        whole = await self._queue.whole(claimed)
        return None if whole is None else self._linked(whole)

    async def _not_ignored(
        self, deliveries: Sequence[Claimed], grouping: Grouping, first: int, plan: Plan
    ) -> list[Claimed]:
        """Withhold the first ones of each group; count all."""
        states, kept = await self._recalled(deliveries, grouping, Counted), []
        for each in deliveries:
            key = self._key(each, grouping)
            states[key], reason = states.get(key, Counted()).ignoring(each, grouping, first)
            if reason:
                plan.settlements.extend(Settlement(id=part.id, state="withheld", error=reason) for part in each.every)
            else:
                kept.append(each)
        expires = self._clock() + timedelta(seconds=grouping.interval) + _GRACE
        plan.memories.extend(_memory(key, state, expires) for key, state in states.items())
        return kept

    async def _not_held(self, deliveries: Sequence[Claimed], grouping: Grouping, plan: Plan) -> list[Claimed]:
        """Hold what belongs to a group until the group's interval ends; return those whose interval has ended."""
        fresh = [each for each in deliveries if not each.fold.startswith(GROUP_FOLD)]
        states, now = await self._recalled(fresh, grouping, _Held), self._clock()
        for each in fresh:
            key = self._key(each, grouping)
            held = states.get(key)
            if held is None or not milliseconds(now) < held.until <= milliseconds(now) + grouping.interval * 1000:
                held = states[key] = _Held(milliseconds(now) + grouping.interval * 1000)
                plan.memories.append(_memory(key, held, moment_at(held.until)))
            due, fold = moment_at(held.until), f"{GROUP_FOLD}{key}"
            plan.settlements.extend(
                Settlement(id=part.id, state="pending", next_attempt_at=due, fold=fold) for part in each.every
            )
        return [each for each in deliveries if each.fold.startswith(GROUP_FOLD)]

    async def _recalled(self, deliveries: Iterable[Claimed], grouping: Grouping, state: type[_S]) -> dict[str, _S]:
        keys = {self._key(each, grouping) for each in deliveries}
        found = await self._queue.recall(self._name, sorted(keys)) if keys else {}
        read = ((key, _read(body, state)) for key, body in found.items())
        return {key: remembered for key, remembered in read if remembered is not None}

    async def _in_threads(
        self, deliveries: Sequence[Claimed], grouping: Grouping, mode: SummaryMode, plan: Plan
    ) -> None:
        """Bring each group's summary up to date, and have each notification follow in its thread if there is one."""
        groups: dict[str, list[Claimed]] = {}
        for each in deliveries:
            groups.setdefault(self._key(each, grouping), []).append(each)
        states = await self._recalled(deliveries, grouping, Group)
        for key, every in groups.items():
            thread = _Thread(self._sink, key, states.get(key), grouping, mode)
            plan.steps.extend(thread.steps(every, self._clock(), self._shown))


class _Thread:
    """A group's message and the replies to it, as the steps of one plan bring them up to date."""

    def __init__(self, sink: Any, key: str, known: Group | None, grouping: Grouping, mode: SummaryMode) -> None:
        self._sink = sink
        self._key = key
        self._known = known
        self._grouping = grouping
        self._mode = mode
        self._group = known

    def steps(
        self, deliveries: Sequence[Claimed], now: datetime, shown: Callable[[Claimed], Notification]
    ) -> list[Step]:
        """Return the steps for the group's deliveries: first a summary that counts what was not counted before."""
        known = set(self._known.unanswered) if self._known else set()
        late = [each for each in deliveries if known.issuperset(part.id for part in each.every)]
        fresh = [each for each in deliveries if each not in late]
        steps = [self._reply(each, shown(each), late=True) for each in late]
        if fresh:
            steps.append(self._summary(fresh, now))
            if self._mode.threaded:
                steps += [self._reply(each, shown(each)) for each in fresh]
        return steps

    def _summary(self, fresh: Sequence[Claimed], now: datetime) -> Step:
        last = fresh[-1].notification
        every = tuple(part for each in fresh for part in each.every)
        return Step(
            lane=lane_of(self._sink, last),
            claimed=every,
            send=lambda: self._summarise(every, last, now),
            delivers=not self._mode.threaded,
            memories=self._memories,
        )

    async def _summarise(self, every: Sequence[Claimed], last: Notification, now: datetime) -> None:
        group = self._group
        if group is None or group.is_over(now, self._grouping):
            group = Group(since=milliseconds(now))
        counted = [each for each in every if each.id not in group.unanswered]
        for each in counted:
            group = group.with_row(values(each.notification, self._mode.by))
        summary = group.summary(last, self._grouping, self._mode.by)
        reference = await self._sink.summarise(summary, group.reference)
        unanswered = (*group.unanswered, *(each.id for each in counted if self._mode.threaded))
        self._group = msgspec.structs.replace(group, reference=reference, unanswered=unanswered)

    def _reply(self, claimed: Claimed, notification: Notification, *, late: bool = False) -> Step:
        return Step(
            lane=lane_of(self._sink, notification),
            claimed=claimed.every,
            send=partial(self._answer, claimed, notification, late=late),
            memories=self._memories,
        )

    async def _answer(self, claimed: Claimed, notification: Notification, *, late: bool) -> None:
        """Send the notification into the thread; a late one into that where it was counted."""
        group = self._known if late else self._group
        assert group is not None  # noqa: S101  the summary's step comes before, and removes this one if it fails
        await self._sink.reply(notification, group.reference)
        if self._group is not None:
            answered = {each.id for each in claimed.every}
            left = tuple(each for each in self._group.unanswered if each not in answered)
            self._group = msgspec.structs.replace(self._group, unanswered=left)

    def _memories(self) -> tuple[Memory, ...]:
        if self._group is None:
            return ()
        expires = moment_at(self._group.since) + timedelta(seconds=self._grouping.interval) + _GRACE
        return (_memory(self._key, self._group, expires),)


def _read(body: bytes, state: type[_S]) -> _S | None:
    """Read a memory; what cannot be read is as good as forgotten."""
    try:
        return msgspec.json.decode(body, type=state)
    except msgspec.MsgspecError:
        return None


def _memory(key: str, state: msgspec.Struct, expires: datetime) -> Memory:
    return Memory(key=key, body=msgspec.json.encode(state), expires_at=expires)
