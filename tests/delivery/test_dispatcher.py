from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import structlog
from typing_extensions import override

from app.core.delivery import ClaimResult
from app.core.finding import Notification
from app.core.grouping import Grouping
from app.delivery.dispatcher import Dispatcher
from app.delivery.queue import DeliveryQueue
from app.delivery.recording import MOST_UNRECORDED
from app.delivery.retry import RetryPolicy
from app.delivery.verdict import Outcome
from app.sinks.base import PermanentError, SinkConfig, TemporaryError
from tests.delivery.fakes import START, Clock, MemoryQueue, RecordingSink

AT_ONCE = timedelta(0)
LONG = timedelta(seconds=30)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> MemoryQueue:
    return MemoryQueue(clock)


@pytest.fixture
def outcomes() -> list[tuple[str, Outcome]]:
    return []


@pytest.fixture
def sink(queue: MemoryQueue) -> RecordingSink:
    return RecordingSink("a", queue)


class Run:
    """Makes dispatchers with a clock that stands still and the longest waits, and closes them in the end."""

    def __init__(self, queue: MemoryQueue, outcomes: list[tuple[str, Outcome]]) -> None:
        self.queue = queue
        self.outcomes = outcomes
        self.dispatchers: list[Dispatcher] = []

    def __call__(self, *sinks: RecordingSink, **more: Any) -> Dispatcher:
        def count(sink: str, outcome: Outcome, seconds: float, deliveries: int) -> None:
            assert seconds >= 0
            assert deliveries >= 1
            self.outcomes.append((sink, outcome))

        queue: DeliveryQueue = self.queue
        options: dict[str, Any] = {"random": lambda: 1.0, "clock": self.queue.clock, **more}
        dispatcher = Dispatcher(queue, sinks, on_outcome=count, **options)
        dispatcher.start()
        self.dispatchers.append(dispatcher)
        return dispatcher


@pytest.fixture
async def run(queue: MemoryQueue, outcomes: list[tuple[str, Outcome]]) -> AsyncIterator[Run]:
    runner = Run(queue, outcomes)
    yield runner
    for dispatcher in runner.dispatchers:
        await dispatcher.close(AT_ONCE)


async def idle() -> None:
    """Let every task go on until it waits for something."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_what_waits_is_sent_in_order(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    ids = queue.add("a", 100)

    run(sink, batch=32)
    await queue.until(lambda: set(queue.states("a")) == {"delivered"})

    assert sink.sent == ids
    assert run.outcomes == [("a", "delivered")] * 100


async def test_each_is_settled_while_the_next_is_sent(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    first, second = queue.add("a", 2)
    sink.hold(second)

    run(sink)
    await queue.until(lambda: queue.rows[first].state == "delivered")

    assert sink.tried == [first, second]
    assert queue.rows[second].state == "pending"


async def test_few_are_sent_while_the_queue_does_not_answer(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    queue.add("a", 32)
    queue.open.clear()

    run(sink)
    await queue.until(lambda: len(sink.tried) >= MOST_UNRECORDED)
    await idle()

    sent = len(sink.sent)
    queue.open.set()
    assert sent in {MOST_UNRECORDED, MOST_UNRECORDED + 1}, "one may be with the queue while the others wait for it"
    await queue.until(lambda: set(queue.states("a")) == {"delivered"})


async def test_a_wake_starts_an_idle_sink(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    dispatcher = run(sink)
    await idle()
    queue.add("a")

    dispatcher.wake(["a", "nobody"])

    await asyncio.wait_for(queue.until(lambda: queue.states("a") == ["delivered"]), 2)


async def test_a_wake_may_come_from_another_thread(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    dispatcher = run(sink)
    await idle()
    queue.add("a")

    threading.Thread(target=dispatcher.wake_threadsafe, args=(["a"],)).start()

    await asyncio.wait_for(queue.until(lambda: queue.states("a") == ["delivered"]), 2)


def test_a_wake_before_the_start_and_after_the_end_is_harmless() -> None:
    clock = Clock()

    async def whole_life() -> Dispatcher:
        queue = MemoryQueue(clock)
        dispatcher = Dispatcher(queue, [RecordingSink("a", queue)], clock=clock, random=lambda: 1.0)
        dispatcher.wake_threadsafe(["a"])
        dispatcher.start()
        await dispatcher.close(LONG)
        dispatcher.wake_threadsafe(["a"])
        return dispatcher

    asyncio.run(whole_life()).wake_threadsafe(["a"])


async def test_a_temporary_failure_is_tried_again_when_its_time_has_come(
    queue: MemoryQueue, clock: Clock, sink: RecordingSink, run: Run
) -> None:
    (delivery,) = queue.add("a")
    sink.fail([delivery], TemporaryError("busy"), TemporaryError("still busy"))
    dispatcher = run(sink)
    await queue.until(lambda: queue.rows[delivery].error == "busy")
    assert queue.rows[delivery].due == START + timedelta(seconds=1)

    clock.advance(seconds=1)
    dispatcher.wake(["a"])
    await queue.until(lambda: queue.rows[delivery].error == "still busy")
    assert queue.rows[delivery].due == clock() + timedelta(seconds=2)

    clock.advance(seconds=2)
    dispatcher.wake(["a"])
    await queue.until(lambda: queue.rows[delivery].state == "delivered")
    assert [outcome for _, outcome in run.outcomes] == ["retried", "retried", "delivered"]


async def test_it_is_tried_again_without_a_wake(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    (delivery,) = queue.add("a")
    sink.fail([delivery], TemporaryError("busy"))

    run(sink, random=lambda: 0.0)

    await asyncio.wait_for(queue.until(lambda: queue.rows[delivery].state == "delivered"), 2)


async def test_retry_after_is_honoured_by_the_whole_sink(
    queue: MemoryQueue, clock: Clock, sink: RecordingSink, run: Run
) -> None:
    first, second = queue.add("a", 2)
    sink.fail([first], TemporaryError("slow down", retry_after=timedelta(seconds=90)))
    dispatcher = run(sink)
    await queue.until(lambda: queue.rows[first].error == "slow down")

    clock.advance(seconds=89)
    dispatcher.wake(["a"])
    await idle()
    assert sink.tried == [first]
    assert queue.rows[first].due == START + timedelta(seconds=90)

    clock.advance(seconds=1)
    dispatcher.wake(["a"])
    await queue.until(lambda: queue.states("a") == ["delivered"] * 2)
    assert sink.sent == [second, first], "the one that was due earlier comes first"


async def test_an_outage_costs_what_waits_behind_it_no_attempt(
    queue: MemoryQueue, clock: Clock, sink: RecordingSink, run: Run
) -> None:
    first, *rest = queue.add("a", 5)
    sink.fail([first], TemporaryError("down"))

    dispatcher = run(sink)
    await queue.until(lambda: queue.rows[first].error == "down")
    await idle()

    assert [queue.rows[each].attempts for each in rest] == [0] * 4
    clock.advance(seconds=1)
    dispatcher.wake(["a"])
    await queue.until(lambda: set(queue.states("a")) == {"delivered"})
    assert queue.limits[:3] == [32, 1, 32], "one delivery alone tries whether the sink is back"


async def test_what_goes_back_is_sent_before_what_came_in_the_meantime(
    queue: MemoryQueue, clock: Clock, sink: RecordingSink, run: Run
) -> None:
    first, second = queue.add("a", 2)
    slow = sink.hold(first)
    sink.fail([first], PermanentError("no"))
    run(sink)
    await queue.until(lambda: first in sink.tried)

    clock.advance(seconds=1)
    (third,) = queue.add("a")
    clock.advance(seconds=30)
    slow.set()
    await queue.until(lambda: queue.rows[third].state == "delivered")

    assert sink.sent == [second, third]


async def test_a_clock_that_is_set_back_ends_a_pause(
    queue: MemoryQueue, clock: Clock, sink: RecordingSink, run: Run
) -> None:
    clock.advance(hours=2)
    (first,) = queue.add("a")
    sink.fail([first], TemporaryError("down"))
    dispatcher = run(sink)
    await queue.until(lambda: queue.rows[first].error == "down")

    clock.advance(hours=-2)
    (second,) = queue.add("a")
    dispatcher.wake(["a"])
    await queue.until(lambda: queue.rows[second].state == "delivered")


async def test_a_pause_is_bounded(queue: MemoryQueue, clock: Clock, sink: RecordingSink, run: Run) -> None:
    ids = queue.add("a", 12)
    sink.fail(ids, *[TemporaryError("down")] * 12)
    dispatcher = run(sink)
    await idle()
    for tried in range(1, 12):
        assert len(run.outcomes) == tried
        clock.advance(seconds=30)
        dispatcher.wake(["a"])
        await idle()


async def test_a_refusal_is_dead_at_once_and_the_next_is_sent(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    first, second = queue.add("a", 2)
    sink.fail([first], PermanentError("no such channel"))

    run(sink)
    await queue.until(lambda: queue.rows[second].state == "delivered")

    assert (queue.rows[first].state, queue.rows[first].error) == ("dead", "no such channel")
    assert run.outcomes == [("a", "dead"), ("a", "delivered")]


async def test_the_last_attempt_ends_in_the_dead_letters(
    queue: MemoryQueue, clock: Clock, sink: RecordingSink, run: Run
) -> None:
    (delivery,) = queue.add("a")
    sink.fail([delivery], *[TemporaryError("busy")] * 2)
    dispatcher = run(sink, policy=RetryPolicy(max_attempts=2))
    await queue.until(lambda: queue.rows[delivery].error == "busy")

    clock.advance(seconds=1)
    dispatcher.wake(["a"])
    await queue.until(lambda: queue.rows[delivery].state == "dead")

    assert run.outcomes == [("a", "retried"), ("a", "dead")]


async def test_a_bug_is_logged_once_with_its_traceback_and_tried_again(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    (delivery,) = queue.add("a")
    sink.fail([delivery], KeyError("hunter2"), KeyError("hunter2"))

    with structlog.testing.capture_logs() as logs:
        run(sink, random=lambda: 0.0)
        await queue.until(lambda: queue.rows[delivery].state == "delivered")

    bugs = [log for log in logs if log["event"] == "sink_bug"]
    assert len(bugs) == 1
    assert isinstance(bugs[0]["exc_info"], KeyError)
    assert [outcome for _, outcome in run.outcomes] == ["bug", "bug", "delivered"]
    postponed = [log["error"] for log in logs if log["event"] == "delivery_postponed"]
    assert postponed == ["internal error (KeyError), see the log"] * 2


class _LostSink(RecordingSink):
    """Cannot tell the lane of what is called `odd`, and cannot send it."""

    @override
    def lane(self, notification: Notification) -> str:
        if notification.entry.resource.name == "odd":
            raise KeyError(notification.entry.resource.name)
        return "usual"


@pytest.mark.parametrize("grouping", [None, Grouping()])
async def test_a_delivery_whose_lane_cannot_be_told_holds_up_no_other(
    queue: MemoryQueue, run: Run, grouping: Grouping | None
) -> None:
    sink = _LostSink("a", queue)
    sink.config = SinkConfig(name="a", grouping=grouping)
    odd, usual = [*queue.add("a", name="odd"), *queue.add("a", name="web")]

    run(sink)
    rows = [queue.rows[each] for each in (odd, usual)]
    await queue.until(lambda: all(row.state == "delivered" or row.fold for row in rows))


async def test_what_cannot_even_be_planned_holds_up_no_other(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    def link(entry: str) -> str:
        if entry == "e1":
            raise KeyError(entry)
        return ""

    _, usual = queue.add("a", 2)
    dispatcher = run(sink, link=link)
    await idle()
    queue.clock.advance(seconds=61)
    dispatcher.wake(["a"])
    await idle()
    dispatcher.wake(["a"])

    await queue.until(lambda: queue.rows[usual].state == "delivered")


async def test_a_timeout_that_is_the_sinks_own_is_a_bug(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    (delivery,) = queue.add("a")
    sink.fail([delivery], TimeoutError())

    run(sink)
    await queue.until(lambda: queue.rows[delivery].error != "")

    assert queue.rows[delivery].error == "internal error (TimeoutError), see the log"


async def test_a_sink_that_hangs_does_not_delay_another(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    other = RecordingSink("b", queue)
    (stuck,), ids = queue.add("a"), queue.add("b", 50)
    sink.hold(stuck)

    run(sink, other)
    await queue.until(lambda: set(queue.states("b")) == {"delivered"})

    assert other.sent == ids
    assert queue.states("a") == ["pending"]


async def test_a_send_that_outlives_its_lease_is_cancelled_and_temporary(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    (delivery,) = queue.add("a")
    sink.hold(delivery)

    run(sink, lease=timedelta(seconds=10, milliseconds=20))
    await asyncio.wait_for(queue.until(lambda: queue.rows[delivery].error != ""), 5)

    assert queue.rows[delivery].error == "not sent within 0 s, cancelled"
    assert run.outcomes == [("a", "retried")]


async def test_what_is_left_of_a_batch_goes_back_before_its_lease_ends(
    queue: MemoryQueue, clock: Clock, sink: RecordingSink, run: Run
) -> None:
    first, second = queue.add("a", 2)
    slow = sink.hold(first)
    run(sink, lease=timedelta(seconds=60))
    await queue.until(lambda: first in sink.tried)

    clock.advance(seconds=26)
    slow.set()
    await queue.until(lambda: queue.rows[second].state == "delivered")

    assert queue.rows[second].attempts == 1
    assert queue.limits[:2] == [32, 32], "it was claimed anew"


@pytest.mark.parametrize("wrong", [{"lease": timedelta(seconds=10)}, {"batch": 0}])
async def test_terms_that_cannot_work_are_refused(queue: MemoryQueue, run: Run, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="a lease must be longer than 10 s, a batch at least 1"):
        run(RecordingSink("a", queue), **wrong)


async def test_names_are_unique(queue: MemoryQueue, run: Run) -> None:
    with pytest.raises(ValueError, match="two sinks are named 'a'"):
        run(RecordingSink("a", queue), RecordingSink("a", queue))


async def test_a_queue_that_fails_does_not_end_the_worker(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    (delivery,) = queue.add("a")
    queue.broken.add("claim")
    with structlog.testing.capture_logs() as logs:
        dispatcher = run(sink)
        await idle()
    assert [log["event"] for log in logs] == ["delivery_round_failed"]

    queue.broken.clear()
    dispatcher.wake(["a"])

    await queue.until(lambda: queue.rows[delivery].state == "delivered")


async def test_what_was_delivered_is_recorded_later_if_the_queue_failed(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    first, second, third = queue.add("a", 3)
    queue.broken.add("settle")
    slow = sink.hold(second)
    dispatcher = run(sink)
    await idle()
    slow.set()
    await idle()
    assert sink.sent == [first, second]

    queue.broken.clear()
    dispatcher.wake(["a"])
    await queue.until(lambda: queue.states("a")[:2] == ["delivered"] * 2)

    assert sink.sent == [first, second], "they are not sent again"
    assert queue.rows[third].state == "pending", "what could not be given back comes back when its lease ends"


async def test_what_failed_is_not_settled_late(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    (delivery,) = queue.add("a")
    sink.fail([delivery], PermanentError("no"))
    queue.broken.add("settle")
    dispatcher = run(sink)
    await idle()

    queue.broken.clear()
    queue.rows[delivery].state = "delivered"  # by another process, after the lease
    dispatcher.wake(["a"])
    await idle()

    assert queue.rows[delivery].state == "delivered"


async def test_close_lets_a_running_send_finish_and_gives_back_the_rest(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    first, second = queue.add("a", 2)
    running = sink.hold(first)
    dispatcher = run(sink)
    await queue.until(lambda: first in sink.tried)

    closing = asyncio.create_task(dispatcher.close(LONG))
    await idle()
    assert not closing.done()
    running.set()
    await closing

    assert queue.rows[first].state == "delivered"
    assert (queue.rows[second].state, queue.rows[second].attempts) == ("pending", 0)
    assert queue.rows[second].leased_until <= queue.clock()
    assert sink.closed == 1


async def test_close_cancels_what_does_not_finish_in_time(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    first, second = queue.add("a", 2)
    sink.hold(first)
    dispatcher = run(sink)
    await queue.until(lambda: first in sink.tried)

    await dispatcher.close(AT_ONCE)

    assert queue.rows[first].leased_until > queue.clock(), "whether it arrived is unknown: its lease has to end"
    assert queue.rows[second].leased_until <= queue.clock()
    assert sink.closed == 1


async def test_close_ends_idle_workers_at_once_and_may_be_repeated(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    dispatcher = run(sink, RecordingSink("b", queue))
    await idle()

    await asyncio.wait_for(dispatcher.close(LONG), 2)
    await dispatcher.close(LONG)

    assert sink.closed == 1


async def test_a_sink_that_cannot_close_does_not_keep_others_from_closing(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    class Stubborn(RecordingSink):
        async def aclose(self) -> None:
            raise OSError("no")

    dispatcher = run(Stubborn("b", queue), sink)
    await idle()

    with structlog.testing.capture_logs() as logs:
        await dispatcher.close(LONG)

    assert sink.closed == 1
    assert [(log["event"], log["sink"]) for log in logs] == [("sink_close_failed", "b")]


async def test_replacing_sinks_loses_no_running_send_and_keeps_the_order(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    (first,) = queue.add("a")
    running = sink.hold(first)
    dispatcher = run(sink)
    await queue.until(lambda: first in sink.tried)
    (second,) = queue.add("a")

    replacement = RecordingSink("a", queue)
    await dispatcher.replace_sinks([replacement])
    await idle()
    assert replacement.tried == []

    running.set()
    await queue.until(lambda: queue.rows[second].state == "delivered")
    assert (sink.sent, replacement.sent) == ([first], [second])
    assert sink.closed == 1


async def test_a_sink_that_returns_while_its_predecessor_still_sends_waits_for_it(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    (first,) = queue.add("a")
    running = sink.hold(first)
    dispatcher = run(sink)
    await queue.until(lambda: first in sink.tried)
    (second,) = queue.add("a")

    returned = RecordingSink("a", queue)
    await dispatcher.replace_sinks([])
    await dispatcher.replace_sinks([returned])
    await idle()
    assert returned.tried == []

    running.set()
    await queue.until(lambda: queue.rows[second].state == "delivered")


async def test_a_sink_that_is_kept_goes_on_undisturbed(queue: MemoryQueue, sink: RecordingSink, run: Run) -> None:
    (delivery,) = queue.add("a")
    running = sink.hold(delivery)
    dispatcher = run(sink)
    await queue.until(lambda: delivery in sink.tried)

    await dispatcher.replace_sinks([sink, RecordingSink("b", queue)])
    queue.add("b")
    queue.add("a")
    dispatcher.wake(["a", "b"])
    await queue.until(lambda: queue.states("b") == ["delivered"])
    await idle()
    assert sink.tried == [delivery]

    running.set()
    await idle()
    assert queue.states("a") == ["delivered"] * 2
    assert sink.closed == 0


async def test_deliveries_of_a_sink_that_is_gone_stay_pending(
    queue: MemoryQueue, sink: RecordingSink, run: Run
) -> None:
    dispatcher = run(sink)
    await dispatcher.replace_sinks([])
    await idle()
    queue.add("a")

    dispatcher.wake(["a"])
    await idle()

    assert queue.states("a") == ["pending"]
    assert sink.closed == 1


async def test_a_queue_that_promises_but_gives_nothing_does_not_spin(
    clock: Clock, sink: RecordingSink, run: Run
) -> None:
    class Liar(MemoryQueue):
        async def claim(self, sink: str, *, limit: int, lease: timedelta, whole: bool = True) -> ClaimResult:
            await super().claim(sink, limit=limit, lease=lease)
            return ClaimResult(deliveries=(), next_due=START - LONG)

    run.queue = Liar(clock)
    run(sink)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.12):
            await asyncio.Event().wait()

    assert 1 <= len(run.queue.limits) <= 4
