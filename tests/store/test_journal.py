"""What the journal acknowledges is durable; what it cannot write waits, and nothing is dropped silently."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from app.core.delivery import Addressee
from app.core.identity import first_sequence_at
from app.store.database import FILE_NAME, IncompatibleSchemaError, JournalInUseError, StoreError
from app.store.journal import Appended, Journal, Record
from tests.builders import make_record
from tests.store.observed import Observer, impatient, locked, opened, sequences, stored


@pytest.fixture
async def observed(tmp_path: Path) -> AsyncIterator[tuple[Journal, Observer]]:
    async with opened(tmp_path) as both:
        yield both


@pytest.fixture
def journal(observed: tuple[Journal, Observer]) -> Journal:
    return observed[0]


@pytest.fixture
def observer(observed: tuple[Journal, Observer]) -> Observer:
    return observed[1]


def complaint(journal: Journal) -> str | None:
    return journal.last_error


def large() -> Record:
    """A record of a megabyte."""
    record = make_record()
    return msgspec.structs.replace(record, entry=msgspec.structs.replace(record.entry, body=b"{" * 1_000_000))


async def test_what_was_appended_is_in_the_file_when_append_returns(journal: Journal) -> None:
    record = make_record()

    assert await journal.append(record) == "recorded"

    assert stored(journal.path) == [record.entry.seq]


async def test_appends_that_wait_together_share_one_transaction(journal: Journal, observer: Observer) -> None:
    records = [make_record() for _ in range(50)]

    answers = await asyncio.gather(*map(journal.append, records))

    assert set(answers) == {"recorded"}
    assert observer.batches == [50]


async def test_a_crowd_larger_than_a_batch_is_written_whole(journal: Journal, observer: Observer) -> None:
    records = [make_record("slack") if number % 7 == 0 else make_record() for number in range(1000)]

    await asyncio.gather(*map(journal.append, records))

    assert stored(journal.path) == sequences(*records)
    assert sum(observer.batches) == 1000


async def test_a_record_brings_its_findings_and_due_deliveries_in_the_same_transaction(journal: Journal) -> None:
    woken: list[frozenset[str]] = []
    journal.on_deliveries = woken.append

    await journal.append(make_record("slack", "mail"))

    rows = await journal.call(lambda c: c.execute("SELECT sink, state, attempts FROM deliveries").fetchall())
    assert sorted(rows) == [("mail", "pending", 0), ("slack", "pending", 0)]
    assert woken == [frozenset({"slack", "mail"})]


async def test_a_delivery_that_is_withheld_says_why_and_wakes_nobody(journal: Journal) -> None:
    woken: list[frozenset[str]] = []
    journal.on_deliveries = woken.append

    await journal.append(make_record("mail", Addressee("slack", withheld="the same change as entry e1")))

    rows = await journal.call(lambda c: c.execute("SELECT sink, state, last_error FROM deliveries").fetchall())
    assert sorted(rows) == [("mail", "pending", ""), ("slack", "withheld", "the same change as entry e1")]
    assert woken == [frozenset({"mail"})]


async def test_a_delivery_that_is_held_is_due_later_with_its_fold(journal: Journal) -> None:
    later = 4_000_000_000_000

    await journal.append(make_record(Addressee("slack", fold="f", after=later), Addressee("mail", fold="f", after=1)))

    query = "SELECT sink, state, fold, next_attempt_at - created_at FROM deliveries ORDER BY sink"
    mail, slack = await journal.call(lambda c: c.execute(query).fetchall())
    assert mail == ("mail", "pending", "f", 0)
    assert slack[:3] == ("slack", "pending", "f")
    assert slack[3] > later / 2


async def test_a_commit_that_takes_longer_than_the_budget_is_pending_and_written_later(tmp_path: Path) -> None:
    record = make_record()

    async with opened(tmp_path, commit_budget=0.02) as (journal, observer):
        with locked(journal.path):
            assert await journal.append(record) == "pending"
            assert journal.pending == 1
            assert journal.pending_seconds > 0
        await journal.call(lambda _connection: None)

        assert stored(journal.path) == [record.entry.seq]
        assert observer.errors == []
        assert (journal.pending, journal.pending_seconds) == (0, 0.0)


async def test_a_failing_disk_is_told_at_once_and_its_entries_are_written_when_it_recovers(
    journal: Journal, observer: Observer
) -> None:
    await impatient(journal)
    first, second = make_record(), make_record("slack")

    with locked(journal.path):
        assert await journal.append(first) == "pending"
        assert complaint(journal) == "database is locked"
        assert await journal.append(second) == "pending"
    await journal.call(lambda _connection: None)

    assert stored(journal.path) == sequences(first, second)
    assert complaint(journal) is None
    assert observer.errors
    assert observer.losses == []


async def test_a_full_disk_loses_nothing_that_fits_into_memory(journal: Journal) -> None:
    await journal.append(make_record())
    (pages,) = await journal.call(lambda c: c.execute("PRAGMA page_count").fetchone())
    await journal.call(lambda c: c.execute(f"PRAGMA max_page_count = {pages}").fetchall())
    record = large()

    assert await journal.append(record) == "pending"
    assert complaint(journal) == "database or disk is full"
    journal._connection.execute("PRAGMA max_page_count = 1000000").fetchall()
    await journal.call(lambda _connection: None)

    assert stored(journal.path)[-1] == record.entry.seq
    assert complaint(journal) is None


async def test_a_file_that_became_read_only_is_tried_again(journal: Journal) -> None:
    await journal.call(lambda c: c.execute("PRAGMA query_only = ON").fetchall())

    assert await journal.append(make_record()) == "pending"
    assert complaint(journal) == "attempt to write a readonly database"
    journal._connection.execute("PRAGMA query_only = OFF").fetchall()
    assert await journal.call(lambda c: c.execute("SELECT count(*) FROM entries").fetchone()) == (1,)


async def test_beyond_the_limit_of_waiting_bytes_records_are_lost_and_reported(tmp_path: Path) -> None:
    async with opened(tmp_path, max_pending_bytes=1_500_000) as (journal, observer):
        await impatient(journal)
        kept = [large(), large()]
        with locked(journal.path):
            answers = [await journal.append(record) for record in (*kept, make_record())]
            assert journal.full
        await journal.call(lambda _connection: None)

        assert answers == ["pending", "pending", "lost"]
        assert observer.losses == [(1, "queue full")]
        assert stored(journal.path) == sequences(*kept)
        assert not journal.full


async def test_a_record_that_the_file_refuses_is_lost_and_holds_up_no_other(
    journal: Journal, observer: Observer
) -> None:
    first, second, third = (make_record() for _ in range(3))
    await journal.append(first)

    answers = await asyncio.gather(*map(journal.append, (second, first, third)))

    assert answers == ["recorded", "lost", "recorded"]
    assert observer.losses == [(1, "refused")]
    assert stored(journal.path) == sequences(first, second, third)
    assert journal.pending == 0


@pytest.mark.parametrize("change", [{"name": "\ud800"}, {"seq": 1 << 70}, {"kind": None}, {"kind": object()}], ids=str)
async def test_a_record_that_cannot_be_bound_is_lost_and_the_writer_goes_on(
    journal: Journal, change: dict[str, object]
) -> None:
    good, bad = make_record(), make_record()
    bad = msgspec.structs.replace(bad, entry=msgspec.structs.replace(bad.entry, **change))

    answers = await asyncio.gather(*map(journal.append, (bad, good)))

    assert answers == ["lost", "recorded"]


async def test_work_that_raises_is_undone_and_harms_nothing_beside_it(journal: Journal) -> None:
    await journal.append(make_record())

    def work(connection: sqlite3.Connection) -> None:
        connection.execute("DELETE FROM entries")
        raise LookupError("no such thing")

    outcomes = await asyncio.gather(journal.call(work), journal.append(make_record()), return_exceptions=True)

    assert isinstance(outcomes[0], LookupError)
    assert outcomes[1] == "recorded"
    assert len(stored(journal.path)) == 2


async def test_work_returns_what_it_found_after_its_commit(journal: Journal) -> None:
    await journal.append(make_record())

    assert await journal.call(lambda c: c.execute("DELETE FROM entries").rowcount) == 1
    assert stored(journal.path) == []


async def test_a_caller_who_leaves_costs_nobody_an_entry(journal: Journal) -> None:
    first, second = make_record(), make_record()
    leaving = asyncio.ensure_future(journal.append(first))
    staying = asyncio.ensure_future(journal.append(second))
    await asyncio.sleep(0)

    leaving.cancel()

    assert await staying == "recorded"
    assert stored(journal.path) == sequences(first, second)


async def test_closing_writes_what_waits(tmp_path: Path) -> None:
    journal, answers = Journal(tmp_path), list[Appended]()
    journal.start()
    records = [make_record() for _ in range(600)]
    for record in records:
        journal.submit(record, answers.append)

    assert await journal.close(5) == 0

    assert stored(journal.path) == sequences(*records)
    assert answers == ["recorded"] * 600


async def test_what_cannot_be_written_before_the_end_is_counted_as_lost(tmp_path: Path) -> None:
    journal = Journal(tmp_path, observer=(observer := Observer()))
    journal.start()
    await impatient(journal)

    with locked(journal.path):
        await journal.append(make_record())
        await journal.append(make_record())
        assert await journal.close(0.01) == 2

    assert observer.losses == [(2, "shutdown")]


async def test_what_still_waits_at_the_end_is_answered_as_lost(tmp_path: Path) -> None:
    journal, answers = Journal(tmp_path, commit_budget=60), list[Appended]()
    journal.start()

    with locked(journal.path):
        journal.submit(make_record(), answers.append)
        assert await journal.close(0.01) == 1

    assert answers == ["lost"]


async def test_what_comes_after_the_end_is_lost_and_counted(tmp_path: Path) -> None:
    journal = Journal(tmp_path, observer=(observer := Observer()))
    journal.start()
    await journal.close(5)

    async with asyncio.timeout(5):
        assert await journal.append(make_record()) == "lost"
        with pytest.raises(StoreError, match="the journal is closed"):
            await journal.call(lambda connection: connection.execute("SELECT 1"))

    assert observer.losses == [(1, "shutdown")]
    assert journal.pending == 0


async def test_a_second_journal_on_the_same_folder_is_refused(journal: Journal) -> None:
    with pytest.raises(JournalInUseError, match=r"is in use by another kubewitness; .* another --data-dir"):
        Journal(journal.path.parent).start()

    assert await journal.append(make_record()) == "recorded"


async def test_a_folder_can_be_used_again_after_its_journal_was_closed(tmp_path: Path) -> None:
    record = make_record()
    async with opened(tmp_path) as (first, _):
        assert await first.append(record) == "recorded"
    second = Journal(tmp_path)

    assert second.start() == record.entry.seq

    await second.close(5)


async def test_a_new_journal_begins_at_zero(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "made" / "on the way ü")

    assert journal.start() == 0

    await journal.close(5)


async def test_the_journal_of_a_newer_version_is_refused_and_not_kept_locked(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, _):
        await journal.call(lambda connection: connection.execute("PRAGMA user_version = 999").fetchall())

    for _attempt in range(2):
        with pytest.raises(IncompatibleSchemaError, match="a newer version wrote it"):
            Journal(tmp_path).start()


async def test_a_file_that_is_no_journal_is_refused_and_not_kept_locked(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"not a database, but text" * 100)

    for _attempt in range(2):
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            Journal(tmp_path).start()


@pytest.mark.parametrize(("synchronous", "level"), [("FULL", 2), ("NORMAL", 1)])
async def test_every_commit_is_synced_as_was_asked_for(tmp_path: Path, synchronous: str, level: int) -> None:
    async with opened(tmp_path, synchronous=synchronous) as (journal, _):
        assert await journal.call(lambda c: c.execute("PRAGMA synchronous").fetchone()) == (level,)
        assert await journal.call(lambda c: c.execute("PRAGMA journal_mode").fetchone()) == ("wal",)


def test_sequence_numbers_fit_into_a_row_for_thousands_of_years() -> None:
    assert first_sequence_at(253_402_300_799_000) < 1 << 63
