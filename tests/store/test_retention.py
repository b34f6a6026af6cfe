"""Entries leave by age and by size, the oldest first, and never before their deliveries have ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from app.core.delivery import DeliveryState
from app.store.journal import Journal, Record
from app.store.retention import Retention, forget, is_over, journal_size
from tests.builders import START, make_record
from tests.store.observed import opened, sequences, stored

DAY = timedelta(days=1)
NOW = datetime.fromtimestamp(START / 1000, UTC) + 10 * DAY
FOR_EVER = Retention(age=None, size_bytes=None)
A_BYTE = Retention(age=None, size_bytes=1)
A_WEEK = Retention(age=7 * DAY, size_bytes=None)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        yield journal


def made(days_ago: float, *sinks: str, size: int = 0) -> Record:
    at = int((NOW - days_ago * DAY).timestamp() * 1000)
    record = make_record(*sinks, at_milliseconds=at)
    return (
        msgspec.structs.replace(record, entry=msgspec.structs.replace(record.entry, body=b"{" * size))
        if size
        else record
    )


async def forgotten(journal: Journal, retention: Retention) -> int:
    """Forget all there is to forget; return the number of entries."""
    total = 0
    while count := await journal.call(lambda connection: forget(connection, retention, NOW)):
        total += count
    return total


async def ended(journal: Journal, state: DeliveryState) -> None:
    await journal.call(lambda c: c.execute("UPDATE deliveries SET state = ?", (state,)).rowcount)


async def test_entries_beyond_the_age_are_forgotten(journal: Journal) -> None:
    old, young = [made(9), made(8)], [made(6), made(0)]
    for record in (*old, *young):
        await journal.append(record)

    assert await forgotten(journal, A_WEEK) == 2
    assert stored(journal.path) == sequences(*young)


async def test_without_limits_nothing_is_forgotten(journal: Journal) -> None:
    await journal.append(made(1000))

    assert await forgotten(journal, FOR_EVER) == 0


async def test_an_entry_stays_while_a_delivery_is_pending(journal: Journal) -> None:
    record = made(9, "slack")
    await journal.append(record)

    assert await forgotten(journal, A_WEEK) == 0
    assert stored(journal.path) == [record.entry.seq]


@pytest.mark.parametrize("state", ["delivered", "dead"])
async def test_an_entry_goes_with_its_findings_and_ended_deliveries(journal: Journal, state: DeliveryState) -> None:
    await journal.append(made(9, "slack", "mail"))
    await ended(journal, state)

    assert await forgotten(journal, A_WEEK) == 1

    for table in ("entries", "findings", "deliveries"):
        query = f"SELECT count(*) FROM {table}"
        assert await journal.call(lambda c, query=query: c.execute(query).fetchone()) == (0,)  # type: ignore[misc]


async def test_a_journal_that_is_too_large_forgets_its_oldest_entries_and_shrinks(journal: Journal) -> None:
    records = [made(5 - number / 1000, size=20_000) for number in range(1200)]
    for record in records:
        journal.submit(record, lambda _answer: None)
    before = await journal.call(lambda c: c.execute("PRAGMA page_count").fetchone()[0])

    count = await forgotten(journal, Retention(age=None, size_bytes=12_000_000))

    after = await journal.call(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    assert 0 < count < 1200
    assert stored(journal.path) == sequences(*records)[count:]
    assert after * 4096 <= 12_000_000 < before * 4096


async def test_size_forgets_nothing_that_is_newer_than_what_still_has_to_be_told(journal: Journal) -> None:
    gone, kept, newer = made(10), made(9, "slack"), [made(8), made(7)]
    for record in (gone, kept, *newer):
        await journal.append(record)

    assert await forgotten(journal, A_BYTE) == 1
    assert stored(journal.path) == sequences(kept, *newer)

    await ended(journal, "dead")

    assert await forgotten(journal, A_BYTE) == 3


async def test_age_still_forgets_around_what_has_to_be_told(journal: Journal) -> None:
    kept = made(10, "slack")
    for record in (kept, made(9), made(8)):
        await journal.append(record)

    assert await forgotten(journal, Retention(age=7 * DAY, size_bytes=1)) == 2
    assert stored(journal.path) == sequences(kept)


async def test_the_size_is_told_and_whether_it_is_too_large(journal: Journal) -> None:
    before = await journal.call(journal_size)
    await journal.append(made(1, size=1_000_000))

    size = await journal.call(journal_size)

    assert before + 900_000 < size < before + 1_100_000
    assert is_over(size, Retention(age=None, size_bytes=size - 1))
    assert not is_over(size, Retention(age=None, size_bytes=size))
    assert not is_over(size, FOR_EVER)
