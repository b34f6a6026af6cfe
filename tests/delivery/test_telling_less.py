"""Dispatchers with sinks that have a pace, threads or grouping: what is told, held, withheld, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
from typing_extensions import override

from app.core.finding import Notification, TableBlock
from app.core.grouping import Grouping
from app.delivery.dispatcher import Dispatcher
from app.sinks.base import Pace, PermanentError, Rendering, SinkConfig, Summary, TemporaryError, ThreadedSink
from tests.delivery.fakes import START, Clock, MemoryQueue, RecordingSink

AT_ONCE = timedelta(0)
Start = Callable[..., Dispatcher]


class Receiver(RecordingSink):
    """A receiver with options; keeps the notifications. Its lanes are namespaces."""

    def __init__(self, queue: MemoryQueue, *, pace: Pace | None = None, **grouping: Any) -> None:
        super().__init__("a", queue)
        options: dict[str, Any] = {"grouping": Grouping.model_validate(grouping)} if grouping else {}
        self.config = SinkConfig(name="a", **options)
        self.pace = pace  # type: ignore[misc]  # of the class, where it is a receiver's documentation
        self.got: list[Notification] = []

    @override
    def lane(self, notification: Notification) -> str:
        return notification.entry.resource.namespace

    @override
    async def send(self, notification: Notification) -> None:
        await super().send(notification)
        self.got.append(notification)

    @property
    def titles(self) -> list[str]:
        return [each.finding.title for each in self.got]


class Channel(Receiver, ThreadedSink[SinkConfig]):
    """A receiver with threads: what happened to its messages, in order."""

    def __init__(self, queue: MemoryQueue, **options: Any) -> None:
        super().__init__(queue, **options)
        self.log: list[str] = []
        self.messages = 0
        self.refused: list[Exception] = []

    @override
    async def summarise(self, summary: Summary, reference: str) -> str:
        await self.queue.notify()
        if self.refused:
            raise self.refused.pop(0)
        if not reference:
            self.messages += 1
        reference = reference or f"m{self.messages}"
        self.log.append(f"{reference}: {', '.join(f'{row[0]} {count}' for row, count in summary.rows)}")
        return reference

    @override
    async def reply(self, notification: Notification, reference: str) -> None:
        await self.send(notification)
        self.log.append(f"{reference}> {notification.finding.title}")

    @override
    def render(self, notification: Notification) -> Rendering:
        return notification.delivery_id


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> MemoryQueue:
    return MemoryQueue(clock)


@pytest.fixture
async def start(queue: MemoryQueue, clock: Clock) -> AsyncIterator[Start]:
    started: list[Dispatcher] = []

    def dispatcher(*sinks: RecordingSink, **options: Any) -> Dispatcher:
        made = Dispatcher(queue, sinks, **{"clock": clock, "random": lambda: 1.0, **options})
        made.start()
        started.append(made)
        return made

    yield dispatcher
    for each in started:
        await each.close(AT_ONCE)


async def idle() -> None:
    """Let every task go on until it waits for something."""
    for _ in range(200):
        await asyncio.sleep(0)


async def later(dispatcher: Dispatcher, clock: Clock, **parts: float) -> None:
    clock.advance(**parts)
    dispatcher.wake(["a"])
    await idle()


async def test_every_notification_has_the_link_of_the_moment(queue: MemoryQueue, start: Start) -> None:
    sink, console = Receiver(queue), ["https://one"]
    dispatcher = start(sink, link=lambda entry_id: f"{console[0]}/entries/{entry_id}")
    queue.add("a")
    dispatcher.wake(["a"])
    await idle()

    console[0] = "https://two"
    queue.add("a")
    dispatcher.wake(["a"])
    await idle()

    assert [each.link for each in sink.got] == ["https://one/entries/e1", "https://two/entries/e2"]


async def test_a_receiver_gets_what_it_takes_and_no_more(queue: MemoryQueue, clock: Clock, start: Start) -> None:
    sink = Receiver(queue, pace=Pace(2, 1.0))
    queue.add("a", 5)
    dispatcher = start(sink)
    await idle()
    assert sink.sent == [1, 2]

    await later(dispatcher, clock, seconds=0.5)
    assert sink.sent == [1, 2]
    await later(dispatcher, clock, seconds=0.5)
    assert sink.sent == [1, 2, 3, 4]


async def test_lanes_do_not_wait_for_each_other_and_keep_their_order(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Receiver(queue, pace=Pace(1, 1.0))
    queue.add("a", 2, namespace="shop")
    queue.add("a", 2, namespace="bank")
    dispatcher = start(sink)
    await idle()
    assert sink.sent == [1, 3]

    await later(dispatcher, clock, seconds=1)
    assert sink.sent == [1, 3, 2, 4]


async def test_a_lane_that_must_wait_for_long_gives_back_its_deliveries_untried(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Receiver(queue, pace=Pace(1, 60.0))
    queue.add("a", 3)
    dispatcher = start(sink)
    await idle()

    assert sink.sent == [1]
    assert [(row.attempts, row.due) for row in list(queue.rows.values())[1:]] == [(0, START + timedelta(minutes=1))] * 2
    await later(dispatcher, clock, seconds=60)
    assert sink.sent == [1, 2]


async def test_a_pause_that_a_paced_receiver_asks_for_is_that_of_its_lane(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Receiver(queue, pace=Pace(10, 1.0))
    queue.add("a", 2, namespace="shop")
    queue.add("a", 2, namespace="bank")
    sink.fail([1], TemporaryError("slow down", retry_after=timedelta(seconds=30)))
    dispatcher = start(sink)
    await idle()
    assert sink.sent == [3, 4]
    assert [queue.rows[each].attempts for each in (1, 2)] == [1, 0]

    await later(dispatcher, clock, seconds=30)
    assert sink.sent == [3, 4, 1, 2]


async def test_what_comes_before_a_lane_is_free_does_not_overtake(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Receiver(queue, pace=Pace(1, 60.0))
    queue.add("a", 3)
    dispatcher = start(sink)
    await idle()
    for _ in range(2):
        await later(dispatcher, clock, seconds=55)
        queue.add("a")
        await later(dispatcher, clock, seconds=0)
        await later(dispatcher, clock, seconds=5)

    assert sink.sent == [1, 2, 3]


async def test_lanes_that_must_wait_are_passed_over_up_to_a_bound(
    queue: MemoryQueue, clock: Clock, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.delivery.worker.MOST_SET_ASIDE", 40)
    sink = Receiver(queue, pace=Pace(1000, 1.0))
    sink.fail([1], TemporaryError("slow down", retry_after=timedelta(seconds=30)))
    queue.add("a", 20, namespace="shop")
    queue.add("a", 1, namespace="bank")
    queue.add("a", 200, namespace="shop")
    dispatcher = start(sink)
    await idle()

    assert sink.sent == [21]
    assert 40 <= sum(row.due > START for row in queue.rows.values()) <= 80
    await later(dispatcher, clock, seconds=30)
    assert sorted(sink.sent) == list(range(1, 222))


async def test_what_has_one_fold_is_told_once_with_a_count(queue: MemoryQueue, start: Start) -> None:
    sink = Receiver(queue)
    queue.add("a", 3, fold="flap")
    queue.add("a")
    start(sink)
    await idle()

    assert sink.titles == ["t3", "t4"]
    assert sink.got[0].folded is not None
    assert sink.got[0].folded.count == 3
    assert queue.states("a") == ["delivered"] * 4


async def test_what_is_told_together_fails_together_and_each_for_itself_is_dead(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Receiver(queue)
    queue.add("a", 3, fold="flap")
    queue.rows[1].attempts = 59
    sink.fail([3], TemporaryError("busy"), PermanentError("no"))
    dispatcher = start(sink)
    await idle()
    assert [(row.state, row.attempts, row.error) for row in queue.rows.values()] == [
        ("dead", 60, "busy"), ("pending", 1, "busy"), ("pending", 1, "busy"),
    ]  # fmt: skip

    await later(dispatcher, clock, seconds=2)
    assert queue.states("a") == ["dead"] * 3


IGNORING: dict[str, Any] = {"interval": 300, "notification_mode": {"regular": {"ignore_first": 2}}}


async def test_the_first_of_a_group_are_withheld_with_the_reason(queue: MemoryQueue, start: Start) -> None:
    sink = Receiver(queue, **IGNORING)
    queue.add("a", 4)
    start(sink)
    await idle()

    assert sink.sent == [3, 4]
    assert queue.states("a") == ["withheld", "withheld", "delivered", "delivered"]
    assert queue.rows[2].error.startswith("number 2 of the first 2 within 300 s")


async def test_a_restart_does_not_begin_to_count_anew(queue: MemoryQueue, start: Start) -> None:
    first = start(Receiver(queue, **IGNORING))
    queue.add("a")
    first.wake(["a"])
    await idle()
    await first.close(AT_ONCE)

    sink = Receiver(queue, **IGNORING)
    queue.add("a", 2)
    start(sink)
    await idle()

    assert sink.sent == [3]


SUMMARY: dict[str, Any] = {
    "group_by": ["namespace"],
    "interval": 60,
    "notification_mode": {"summary": {"by": ["identifier"]}},
}
UNTHREADED: dict[str, Any] = {**SUMMARY, "notification_mode": {"summary": {"by": ["identifier"], "threaded": False}}}


async def test_a_group_is_one_message_with_a_thread_until_its_interval_ends(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Channel(queue, **SUMMARY)
    queue.add("a", 2, aggregation_key="A")
    dispatcher = start(sink)
    await idle()
    queue.add("a", 1, aggregation_key="B")
    await later(dispatcher, clock, seconds=59)
    queue.add("a", 1, aggregation_key="A")
    await later(dispatcher, clock, seconds=1)

    assert sink.log == ["m1: A 2", "m1> t1", "m1> t2", "m1: A 2, B 1", "m1> t3", "m2: A 1", "m2> t4"]
    assert set(queue.states("a")) == {"delivered"}


async def test_without_threads_the_table_is_all(queue: MemoryQueue, start: Start) -> None:
    sink = Channel(queue, **UNTHREADED)
    queue.add("a", 5, aggregation_key="A", namespace="shop")
    queue.add("a", 1, aggregation_key="A", namespace="bank")
    start(sink)
    await idle()

    assert sink.log == ["m1: A 5", "m2: A 1"]
    assert set(queue.states("a")) == {"delivered"}


async def test_a_restart_goes_on_with_the_same_message(queue: MemoryQueue, start: Start) -> None:
    queue.add("a", 1, aggregation_key="A")
    first = start(Channel(queue, **SUMMARY))
    await idle()
    await first.close(AT_ONCE)

    sink = Channel(queue, **SUMMARY)
    queue.add("a", 1, aggregation_key="A")
    start(sink)
    await idle()

    assert sink.log == ["m1: A 2", "m1> t2"]


async def test_a_reply_that_fails_is_sent_later_and_counted_once(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Channel(queue, **SUMMARY)
    queue.add("a", 2, aggregation_key="A")
    sink.fail([1], TemporaryError("busy"))
    dispatcher = start(sink)
    await idle()
    await later(dispatcher, clock, seconds=1)

    assert sorted(sink.log) == ["m1: A 2", "m1> t1", "m1> t2"]
    await later(dispatcher, clock, seconds=70)
    assert set(queue.states("a")) == {"delivered"}


async def test_a_summary_that_is_refused_refuses_what_it_was_for(queue: MemoryQueue, start: Start) -> None:
    sink = Channel(queue, **SUMMARY)
    sink.refused = [PermanentError("no such channel")]
    queue.add("a", 2, namespace="gone")
    queue.add("a", 1, namespace="shop")
    start(sink)
    await idle()

    assert queue.states("a") == ["dead", "dead", "delivered"]


async def test_a_sink_without_threads_tells_a_group_when_its_interval_ends(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Receiver(queue, **SUMMARY)
    queue.add("a", 2, namespace="shop", aggregation_key="A")
    dispatcher = start(sink)
    await idle()
    queue.add("a", 1, namespace="shop", aggregation_key="B")
    queue.add("a", 1, namespace="bank")
    await later(dispatcher, clock, seconds=30)
    assert sink.got == []
    assert [row.attempts for row in queue.rows.values()] == [0] * 4

    await later(dispatcher, clock, seconds=30)
    assert sink.titles == ["3 notifications: namespace shop"]
    table = sink.got[0].finding.blocks[0]
    assert isinstance(table, TableBlock)
    assert (table.headers, table.rows) == (("count", "notification"), (("2", "A"), ("1", "B")))

    await later(dispatcher, clock, seconds=30)
    assert sink.titles[1:] == ["t4"], "what is alone in its group is told as it is"
    assert set(queue.states("a")) == {"delivered"}


async def test_what_was_held_is_told_as_a_digest_also_when_grouping_is_gone(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    dispatcher = start(Receiver(queue, **SUMMARY))
    queue.add("a", 2, namespace="shop")
    dispatcher.wake(["a"])
    await idle()
    sink = Receiver(queue)
    await dispatcher.replace_sinks([sink])

    await later(dispatcher, clock, seconds=0)

    assert sink.titles == ["2 notifications: cluster (undefined)"]


async def test_what_was_held_waits_no_longer_than_a_changed_interval(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    dispatcher = start(Receiver(queue, **SUMMARY | {"interval": 86_400}))
    queue.add("a", 2, namespace="shop")
    dispatcher.wake(["a"])
    await idle()
    sink = Receiver(queue, **SUMMARY)
    await dispatcher.replace_sinks([sink])
    await idle()

    await later(dispatcher, clock, seconds=59)
    assert sink.titles == []
    await later(dispatcher, clock, seconds=1)
    assert sink.titles == ["2 notifications: namespace shop"]


async def test_a_backlog_of_a_slow_receiver_is_told_in_digests_and_nothing_is_lost(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Receiver(queue, pace=Pace(1, 1.0))
    queue.add("a", 150, namespace="shop", aggregation_key="A")
    queue.add("a", 1, namespace="bank")
    dispatcher = start(sink)
    await idle()
    assert sink.titles == ["100 notifications: more at once than this receiver takes", "t151"]

    await later(dispatcher, clock, seconds=1)
    assert sink.titles[2:] == ["50 notifications: more at once than this receiver takes"]
    assert set(queue.states("a")) == {"delivered"}
    assert sum(each.folded.count if each.folded else 1 for each in sink.got) == 151


async def test_a_backlog_in_threads_is_counted_whole_and_answered_with_a_digest(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Channel(queue, pace=Pace(1, 1.0), **SUMMARY)
    queue.add("a", 80, aggregation_key="A")
    dispatcher = start(sink)
    await idle()
    await later(dispatcher, clock, seconds=1)

    assert sink.log == ["m1: A 80", "m1> 80 notifications: more at once than this receiver takes"]


async def test_an_outage_of_an_hour_makes_nothing_dead_and_costs_few_attempts(
    queue: MemoryQueue, clock: Clock, start: Start
) -> None:
    sink = Receiver(queue)
    queue.add("a", 300)
    sink.fail(range(1, 301), *[TemporaryError("down")] * 100)
    dispatcher = start(sink)
    for _ in range(3600 // 15):
        await later(dispatcher, clock, seconds=15)
    attempts = [row.attempts for row in queue.rows.values()]
    assert (set(queue.states("a")), sum(attempts) <= 125, max(attempts)) == ({"pending"}, True, 1)

    sink.failures.clear()
    for _ in range(25):
        await later(dispatcher, clock, seconds=15)
    assert set(queue.states("a")) == {"delivered"}


async def test_a_single_delivery_outlives_an_outage_of_an_hour(queue: MemoryQueue, clock: Clock, start: Start) -> None:
    sink = Receiver(queue)
    queue.add("a")
    sink.fail([1], *[TemporaryError("down")] * 100)
    dispatcher = start(sink, random=lambda: 0.5)
    for _ in range(3600):
        clock.advance(seconds=1)
        dispatcher.wake(["a"])
        await asyncio.sleep(0)
    await idle()

    assert queue.states("a") == ["pending"]
