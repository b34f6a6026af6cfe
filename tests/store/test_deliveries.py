"""The queue of deliveries: claimed once, leased, settled; listed, requeued and purged by people."""

from __future__ import annotations

import asyncio
import itertools
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.core.change import Entry, FieldChange
from app.core.delivery import Delivery, DeliveryState, Memory, Settlement
from app.core.finding import Finding, Severity, TextBlock
from app.store import deliveries as deliveries_module
from app.store.database import StoreError, connect_reader
from app.store.deliveries import (
    DeliveryQueue,
    forget_memories,
    purge,
    queue_state,
    requeue,
)
from app.store.delivery_lists import deliveries_of, list_deliveries
from app.store.encoding import read_entry
from app.store.journal import Journal
from tests.builders import make_record
from tests.store.observed import opened

MINUTE = timedelta(minutes=1)
NONE = timedelta(0)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        yield journal


@pytest.fixture
def queue(journal: Journal) -> DeliveryQueue:
    return DeliveryQueue(journal)


async def filled(journal: Journal, *sinks: str, count: int = 1) -> None:
    for _ in range(count):
        await journal.append(make_record(*sinks))


def listed(journal: Journal, *, state: DeliveryState | None = None, sink: str = "", limit: int = 100) -> list[Delivery]:
    with closing(connect_reader(journal.path)) as connection:
        return list_deliveries(connection, state=state, sink=sink, limit=limit)


async def claimed_ids(queue: DeliveryQueue, sink: str, *, limit: int = 10, lease: timedelta = MINUTE) -> list[int]:
    result = await queue.claim(sink, limit=limit, lease=lease)
    return [delivery.id for delivery in result.deliveries]


async def settled(queue: DeliveryQueue, state: DeliveryState, *, error: str = "", due: datetime | None = None) -> None:
    (delivery_id,) = await claimed_ids(queue, "slack")
    await queue.settle([Settlement(id=delivery_id, state=state, error=error, next_attempt_at=due)])


async def test_a_claim_brings_the_finding_with_its_entry(journal: Journal, queue: DeliveryQueue) -> None:
    finding = Finding(playbook="p", title="t", severity=Severity.LOW, blocks=(TextBlock(text="ü"),), sinks=("slack",))
    await journal.append(make_record("slack", finding=finding))

    (claimed,) = (await queue.claim("slack", limit=5, lease=MINUTE)).deliveries

    notification = claimed.notification
    assert notification.finding == finding
    assert str(notification.entry.resource) == "Deployment/shop/web"
    assert notification.attempt == 1
    assert notification.delivery_id == f"{notification.entry.id}/{claimed.id}"


async def test_deliveries_are_claimed_oldest_first_up_to_the_limit(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", count=5)

    first, second = [await claimed_ids(queue, "slack", limit=3) for _ in range(2)]

    assert (first, second) == ([1, 2, 3], [4, 5])


async def test_two_claims_at_the_same_time_share_nothing(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", count=20)

    claims = await asyncio.gather(*(claimed_ids(queue, "slack", limit=7) for _ in range(4)))

    assert sorted(itertools.chain.from_iterable(claims)) == list(range(1, 21))


async def test_a_claim_is_for_one_sink(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", "mail")

    assert len(await claimed_ids(queue, "mail")) == 1
    assert len(await claimed_ids(queue, "slack")) == 1


async def test_what_is_leased_is_due_again_when_the_lease_ends(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack")

    first = await queue.claim("slack", limit=1, lease=NONE)
    second = await queue.claim("slack", limit=1, lease=MINUTE)
    third = await queue.claim("slack", limit=1, lease=MINUTE)

    assert [each.notification.attempt for each in (*first.deliveries, *second.deliveries)] == [1, 2]
    assert third.deliveries == ()
    assert third.next_due is not None
    assert third.next_due > datetime.now(UTC)


@pytest.mark.parametrize("table", ["entries", "findings"])
@pytest.mark.parametrize("body", [b"", b"{", b"\x78\x9cno stream", b"\xff", b"[]"])
async def test_a_delivery_that_cannot_be_read_is_dead_and_holds_up_no_other(
    journal: Journal, queue: DeliveryQueue, table: str, body: bytes
) -> None:
    await filled(journal, "slack", count=3)
    damage = f"UPDATE {table} SET body = ? WHERE seq = (SELECT seq FROM deliveries WHERE id = 2)"
    await journal.call(lambda c: c.execute(damage, (body,)).rowcount)

    assert await claimed_ids(queue, "slack") == [1, 3]

    (dead,) = listed(journal, state="dead")
    assert dead.id == 2
    assert dead.last_error.startswith("cannot be read from the journal: ")
    assert dead.title == ("web changed" if table == "entries" else "(cannot be read)")


async def test_a_claim_of_nothing_readable_gives_nothing(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", count=2)
    await journal.call(lambda c: c.execute("UPDATE entries SET body = x'ff'").rowcount)

    assert await claimed_ids(queue, "slack") == []
    assert [each.state for each in listed(journal)] == ["dead", "dead"]


async def test_what_is_claimed_is_read_outside_of_the_writer(
    journal: Journal, queue: DeliveryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(journal, "slack")
    threads = list[str]()

    def watched(body: bytes) -> Entry:
        threads.append(threading.current_thread().name)
        return read_entry(body)

    monkeypatch.setattr(deliveries_module, "read_entry", watched)
    assert await claimed_ids(queue, "slack") == [1]

    (name,) = threads
    assert name not in ("journal", threading.current_thread().name)


async def test_the_list_knows_entries_by_their_id_without_reading_them(journal: Journal) -> None:
    record = make_record("slack")
    await journal.append(record)
    await journal.call(lambda c: c.execute("UPDATE entries SET body = x'ff'").rowcount)

    assert [each.entry_id for each in listed(journal)] == [read_entry(record.entry.body).id]


async def test_an_empty_queue_has_nothing_due(queue: DeliveryQueue) -> None:
    result = await queue.claim("slack", limit=1, lease=MINUTE)

    assert (result.deliveries, result.next_due) == ((), None)


async def test_what_was_delivered_is_done(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack")

    await settled(queue, "delivered")

    (delivery,) = listed(journal)
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("delivered", 1, "")
    assert delivery.next_attempt_at is None
    assert await claimed_ids(queue, "slack") == []


async def test_what_failed_is_tried_again_when_it_is_due(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack")
    due = datetime.now(UTC) + MINUTE

    await settled(queue, "pending", error="HTTP 500", due=due)

    (delivery,) = listed(journal)
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("pending", 1, "HTTP 500")
    assert delivery.next_attempt_at == due.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    assert (await queue.claim("slack", limit=1, lease=MINUTE)).deliveries == ()


async def test_what_was_given_back_untried_counts_as_no_attempt(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack")

    await settled(queue, "pending")

    assert listed(journal)[0].attempts == 0
    assert await claimed_ids(queue, "slack") == [1]


async def test_deliveries_of_a_sink_that_is_gone_stay(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", "gone")

    await settled(queue, "delivered")

    (left,) = listed(journal, sink="gone")
    assert (left.state, left.attempts) == ("pending", 0)


async def dead_and_pending(journal: Journal, queue: DeliveryQueue) -> None:
    """Leave three deliveries: dead for slack, dead for mail, pending for mail."""
    await filled(journal, "slack", "mail")
    await filled(journal, "mail")
    for sink in ("slack", "mail"):
        (delivery_id,) = await claimed_ids(queue, sink, limit=1)
        await queue.settle([Settlement(id=delivery_id, state="dead", error="HTTP 404")])


async def test_people_list_deliveries_newest_first_and_by_state_and_sink(
    journal: Journal, queue: DeliveryQueue
) -> None:
    await dead_and_pending(journal, queue)

    assert [(each.id, each.sink, each.state) for each in listed(journal)] == [
        (3, "mail", "pending"), (2, "mail", "dead"), (1, "slack", "dead"),
    ]  # fmt: skip
    assert [each.id for each in listed(journal, state="dead")] == [2, 1]
    assert [each.id for each in listed(journal, state="dead", sink="slack")] == [1]
    assert [each.id for each in listed(journal, limit=1)] == [3]
    assert (listed(journal)[0].playbook, listed(journal)[0].title) == ("images", "web changed")


async def test_the_deliveries_of_an_entry_are_listed_oldest_first(journal: Journal) -> None:
    record = make_record("slack", "mail")
    await journal.append(record)

    with closing(connect_reader(journal.path)) as connection:
        found = deliveries_of(connection, record.entry.seq)

    assert [each.sink for each in found] == ["slack", "mail"]


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, {1, 2}),
        ({"ids": [1]}, {1}),
        ({"sink": "mail"}, {2}),
        ({"ids": [1], "sink": "mail"}, set()),
        ({"ids": [3]}, set()),
    ],
    ids=str,
)
async def test_dead_deliveries_are_requeued_from_the_first_attempt(
    journal: Journal, queue: DeliveryQueue, chosen: dict[str, object], expected: set[int]
) -> None:
    await dead_and_pending(journal, queue)

    count = requeue(journal.path, **chosen)  # type: ignore[arg-type]  # the table has both kinds

    pending = [each for each in listed(journal, state="pending") if each.id != 3]
    assert (count, {each.id for each in pending}) == (len(expected), expected)
    assert all(each.attempts == 0 for each in pending)


async def test_dead_deliveries_are_purged_and_their_entries_stay(journal: Journal, queue: DeliveryQueue) -> None:
    await dead_and_pending(journal, queue)

    assert purge(journal.path, sink="slack") == 1
    assert purge(journal.path) == 1
    assert purge(journal.path, state="pending", ids=[3]) == 1

    assert listed(journal) == []
    assert await journal.call(lambda c: c.execute("SELECT count(*) FROM findings").fetchone()) == (2,)


async def test_the_state_of_the_queue_is_told_by_sink(journal: Journal, queue: DeliveryQueue) -> None:
    await dead_and_pending(journal, queue)

    with closing(connect_reader(journal.path)) as connection:
        states = queue_state(connection, datetime.now(UTC) + timedelta(hours=1))

    assert [(sink, pending, dead) for sink, pending, dead, _age in states] == [("mail", 1, 1), ("slack", 0, 1)]
    assert states[0][3] >= 3600
    assert states[1][3] == 0


async def fold(journal: Journal, fold: str, *ids: int) -> None:
    await journal.call(
        lambda c: c.executemany("UPDATE deliveries SET fold = ? WHERE id = ?", [(fold, each) for each in ids]).rowcount
    )


async def test_what_has_the_same_fold_is_claimed_as_the_last_of_them(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", count=5)
    await fold(journal, "flap", 1, 3, 5)

    result = await queue.claim("slack", limit=2, lease=MINUTE)

    assert [[each.id for each in claimed.every] for claimed in result.deliveries] == [[1, 3, 5], [2]]
    folded = result.deliveries[0].notification.folded
    assert folded is not None
    assert (folded.count, folded.since) == (3, "2026-01-02T03:04:05.000000Z")
    assert await claimed_ids(queue, "slack") == [4]


async def test_of_a_fold_only_what_is_due_is_claimed_and_only_for_its_sink(
    journal: Journal, queue: DeliveryQueue
) -> None:
    await filled(journal, "slack", "mail", count=2)
    await fold(journal, "flap", 1, 2, 3, 4)
    due = datetime.now(UTC) + MINUTE
    await queue.claim("slack", limit=1, lease=MINUTE)
    await queue.settle([Settlement(id=1, state="pending"), Settlement(id=3, state="pending", next_attempt_at=due)])

    (claimed,) = (await queue.claim("slack", limit=5, lease=MINUTE)).deliveries

    assert [each.id for each in claimed.every] == [1]


async def test_a_claim_leases_a_bounded_number(
    journal: Journal, queue: DeliveryQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries_module, "MOST_TOLD_TOGETHER", 3)
    await filled(journal, "slack", count=6)
    await fold(journal, "flap", 1, 2, 3, 4, 5)

    assert await claimed_ids(queue, "slack") == [3]
    assert await claimed_ids(queue, "slack") == [5, 6]


async def test_a_light_claim_leaves_out_what_only_its_own_message_needs(journal: Journal, queue: DeliveryQueue) -> None:
    finding = Finding(playbook="p", title="t", blocks=(TextBlock(text="long"),))
    change = FieldChange("spec.replicas", "replace", 1, 3)
    await journal.append(make_record("slack", finding=finding, changes=(change,), labels={"app": "web"}))

    (claimed,) = (await queue.claim("slack", limit=5, lease=MINUTE, whole=False)).deliveries
    whole = await queue.whole(claimed)

    light = claimed.notification
    assert (light.finding.blocks, light.entry.changes, light.entry.labels) == ((), (), {"app": "web"})
    assert whole is not None
    assert (whole.notification.finding, whole.notification.entry.changes) == (finding, (change,))
    assert whole.notification.attempt == light.attempt == 1


async def test_the_backlog_is_what_is_due(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", count=5)
    await queue.claim("slack", limit=1, lease=MINUTE)

    assert [await queue.backlog("slack", most) for most in (3, 100)] == [3, 4]
    assert await queue.backlog("mail", 100) == 0


async def test_what_is_withheld_says_why_and_was_no_attempt(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack")

    await settled(queue, "withheld", error="number 1 of the first 3")

    (delivery,) = listed(journal, state="withheld")
    assert (delivery.attempts, delivery.last_error) == (0, "number 1 of the first 3")
    assert await claimed_ids(queue, "slack") == []


async def test_what_is_held_gets_a_fold(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", count=2)
    await queue.claim("slack", limit=2, lease=MINUTE)

    await queue.settle([Settlement(id=each, state="pending", fold="group:x") for each in (1, 2)])

    (claimed,) = (await queue.claim("slack", limit=5, lease=MINUTE)).deliveries
    assert ([each.id for each in claimed.every], claimed.fold) == ([1, 2], "group:x")


async def test_what_was_written_before_the_clock_was_set_back_is_due(journal: Journal, queue: DeliveryQueue) -> None:
    await filled(journal, "slack", "slack")
    await claimed_ids(queue, "slack", limit=1)
    ahead = "UPDATE deliveries SET updated_at = updated_at + 3600000, next_attempt_at = next_attempt_at + 3600000"
    await journal.call(lambda c: c.execute(ahead).rowcount)
    assert await claimed_ids(queue, "slack") == []

    await queue.heed_clock()
    assert await claimed_ids(queue, "slack") == [2], "the other one is leased"

    await journal.call(lambda c: c.execute(ahead).rowcount)
    await queue.recover()
    assert await claimed_ids(queue, "slack") == [1, 2]


async def test_what_waits_for_its_time_waits_on_where_the_clock_is_right(
    journal: Journal, queue: DeliveryQueue
) -> None:
    await filled(journal, "slack")
    await settled(queue, "pending", error="HTTP 503", due=datetime.now(UTC) + 60 * MINUTE)

    await queue.recover()

    assert await claimed_ids(queue, "slack") == []


@pytest.mark.parametrize(
    ("error", "fold", "sooner"), [("", "group:a", True), ("HTTP 503", "group:a", False), ("", "x", False)]
)
async def test_what_is_held_can_be_told_sooner_but_not_what_failed(
    journal: Journal, queue: DeliveryQueue, error: str, fold: str, sooner: bool
) -> None:
    await filled(journal, "slack", "mail")
    now = datetime.now(UTC)
    held = [
        Settlement(id=each.id, state="pending", error=error, fold=fold, next_attempt_at=now + 60 * MINUTE)
        for each in listed(journal)
    ]
    await queue.settle(held)

    await queue.hasten("slack", "group:", now)

    assert bool(await claimed_ids(queue, "slack")) is sooner
    assert await claimed_ids(queue, "mail") == []


async def test_memories_are_written_with_the_settlements_or_not_at_all(journal: Journal, queue: DeliveryQueue) -> None:
    memory = Memory(key="k", body=b"1", expires_at=datetime.now(UTC) + MINUTE)
    await filled(journal, "slack")
    with pytest.raises(sqlite3.IntegrityError):
        await queue.settle([Settlement(id=1, state="lost")], sink="slack", memories=[memory])  # type: ignore[arg-type]  # what the table refuses
    assert await queue.recall("slack", ["k"]) == {}

    await queue.settle([Settlement(id=1, state="delivered")], sink="slack", memories=[memory])

    assert await queue.recall("slack", ["k", "other"]) == {"k": b"1"}
    assert await queue.recall("mail", ["k"]) == {}


async def test_memories_are_forgotten_when_they_expire(journal: Journal, queue: DeliveryQueue) -> None:
    now = datetime.now(UTC)
    memories = [Memory(key=key, body=b"", expires_at=now + wait) for key, wait in (("a", MINUTE), ("b", 3 * MINUTE))]
    await queue.settle([], sink="slack", memories=memories)

    assert await journal.call(lambda c: forget_memories(c, now + 2 * MINUTE)) == 1
    assert await queue.recall("slack", ["a", "b"]) == {"b": b""}


PLANS = [
    (
        deliveries_module._FOLD,
        ("slack", "f", 1, 9),
        "SEARCH deliveries USING INDEX deliveries_fold (sink=? AND fold=?)",
    ),
    (deliveries_module._BACKLOG, ("slack", 1, 9), "SEARCH d USING INDEX deliveries_due (sink=? AND next_attempt_at<?)"),
    (deliveries_module._READ, (1,), "SEARCH d USING INTEGER PRIMARY KEY"),
    (
        deliveries_module._HASTEN,
        (1, "slack", "group:", "group:z", 1),
        "SEARCH deliveries USING INDEX deliveries_fold (sink=? AND fold>? AND fold<?)",
    ),
    (deliveries_module._RECALL, ("slack", "k"), "SEARCH sink_memory USING PRIMARY KEY (sink=? AND key=?)"),
    ("DELETE FROM sink_memory WHERE expires_at <= ?", (1,), "USING COVERING INDEX sink_memory_expired (expires_at<?)"),
]


@pytest.mark.parametrize(("query", "parameters", "expected"), PLANS)
async def test_every_step_of_a_delivery_uses_an_index_and_sorts_nothing(
    journal: Journal, query: str, parameters: tuple[object, ...], expected: str
) -> None:
    rows = await journal.call(lambda c: c.execute(f"EXPLAIN QUERY PLAN {query}", parameters).fetchall())

    plan = "; ".join(row[3] for row in rows)
    assert expected in plan
    assert "TEMP B-TREE" not in plan


def test_a_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no journal at .*journal\.db; is --data-dir the one"):
        requeue(tmp_path / "journal.db")
