"""Deliveries to a sink that is gone wait for a day, and are then dead for people to see."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.store.absent import ERROR, give_up_absent
from app.store.database import connect_reader
from app.store.deliveries import requeue
from app.store.delivery_lists import list_deliveries
from app.store.journal import Journal
from tests.builders import make_record
from tests.store.observed import opened

HOUR = timedelta(hours=1)
NOW = datetime.now(UTC) + HOUR


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        await journal.append(make_record("kept", "gone"))
        yield journal


async def given_up(journal: Journal, *configured: str, later: timedelta = timedelta(0)) -> int:
    """Give up what may be given up at that time; return the number of deliveries."""
    total = 0
    while count := await journal.call(lambda c: give_up_absent(c, configured, NOW + later)):
        total += count
    return total


def states(journal: Journal) -> dict[str, tuple[str, str]]:
    with closing(connect_reader(journal.path)) as connection:
        found = list_deliveries(connection, limit=100)
    return {each.sink: (each.state, each.last_error) for each in found}


async def test_after_a_day_without_their_sink_deliveries_are_dead(journal: Journal) -> None:
    assert await given_up(journal, "kept") == 0
    assert await given_up(journal, "kept", later=23 * HOUR) == 0

    assert await given_up(journal, "kept", later=24 * HOUR) == 1

    assert states(journal) == {"gone": ("dead", ERROR), "kept": ("pending", "")}
    assert ERROR == "no sink of this name is configured"


async def test_the_day_begins_when_the_sink_goes_not_when_its_delivery_came(journal: Journal) -> None:
    assert await given_up(journal, "kept", "gone", later=48 * HOUR) == 0
    assert await given_up(journal, "kept", later=49 * HOUR) == 0
    assert await given_up(journal, "kept", later=72 * HOUR) == 0

    assert await given_up(journal, "kept", later=73 * HOUR) == 1


async def test_a_sink_that_comes_back_begins_anew(journal: Journal) -> None:
    await given_up(journal, "kept")
    await given_up(journal, "kept", "gone", later=12 * HOUR)

    assert await given_up(journal, "kept", later=25 * HOUR) == 0
    assert await given_up(journal, "kept", later=49 * HOUR) == 1


async def test_the_day_goes_on_over_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as (before, _):
        await before.append(make_record("gone"))
        await given_up(before)

    async with opened(tmp_path) as (after, _):
        assert await given_up(after, later=24 * HOUR) == 1


async def test_what_was_requeued_waits_as_long_again(journal: Journal) -> None:
    early = timedelta(days=-3)
    await journal.call(lambda c: c.execute("UPDATE deliveries SET updated_at = 0").rowcount)
    await given_up(journal, "kept", later=early)
    assert await given_up(journal, "kept", later=early + 24 * HOUR) == 1

    assert requeue(journal.path, sink="gone") == 1

    assert await given_up(journal, "kept") == 0
    assert await given_up(journal, "kept", later=24 * HOUR) == 1


async def test_what_was_requeued_later_waits_longer_than_what_waited_before(journal: Journal) -> None:
    await journal.append(make_record("gone"))
    await journal.call(lambda c: c.execute("UPDATE deliveries SET updated_at = 0 WHERE id = 2").rowcount)
    await given_up(journal, "kept", later=-22 * HOUR)

    assert await given_up(journal, "kept", later=2 * HOUR) == 1
    assert await given_up(journal, "kept", later=24 * HOUR) == 1


async def test_any_number_of_them_is_given_up(journal: Journal) -> None:
    for _ in range(1200):
        journal.submit(make_record("gone", "gone too"), lambda _answer: None)
    await given_up(journal, "kept")

    assert await given_up(journal, "kept", later=24 * HOUR) == 2401
