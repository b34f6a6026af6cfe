"""Evidence waits for the journal in memory, within bounds, and nobody waits for the journal."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pytest

from app.core.evidence import Log, PodEvidence
from app.store import evidence
from app.store.journal import Journal
from app.watcher.holding import Dropped, Holding
from tests.watcher.journals import SlowJournal

NOW = datetime(2026, 1, 2, tzinfo=UTC)


class Told:
    """Remembers what was dropped."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def captured(self, result: Literal["read", "failed"]) -> None:
        raise AssertionError("nothing is read here")

    def dropped(self, reason: Dropped) -> None:
        self.reasons.append(reason)


@asynccontextmanager
async def holding(tmp_path: Path, **options: Any) -> AsyncIterator[tuple[Holding, SlowJournal, Told]]:
    journal, told = SlowJournal(tmp_path), Told()
    journal.start()
    held = Holding(journal, told, lambda: NOW, **options)
    writing = asyncio.create_task(held.run())
    try:
        yield held, journal, told
    finally:
        writing.cancel()
        await held.close()
        await journal.close(5)


def make_pod(name: str = "crash-1", text: str = "") -> PodEvidence:
    return PodEvidence(
        uid=name, name=name, created_at=f"2026-01-02T00:00:0{name[-1]}Z", logs=(Log(container="a", text=text),)
    )


async def saved(journal: Journal, job_uid: str = "job") -> list[PodEvidence]:
    return list(await Journal.call(journal, lambda connection: evidence.held(connection, job_uid)))


async def test_what_is_kept_is_held_at_once_and_saved_when_the_journal_takes_it(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, _):
        held.keep("job", make_pod())

        assert await held.pod("job", "crash-1") == make_pod()
        assert await held.of_job("job") == (make_pod(),)
        assert await saved(journal) == []

        journal.free.set()
        await held.flush()

        assert await saved(journal) == [make_pod()]
        assert await held.of_job("job") == (make_pod(),)
        assert held._unsaved == {}
        assert held._bytes == 0


async def test_pods_are_packed_beside_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packing: list[str] = []
    packed = evidence.packed

    def noted(pod: PodEvidence) -> bytes:
        packing.append(threading.current_thread().name)
        return packed(pod)

    monkeypatch.setattr(evidence, "packed", noted)
    async with holding(tmp_path) as (held, journal, _):
        journal.free.set()
        held.keep("job", make_pod())
        await held.flush()

        assert await saved(journal) == [make_pod()]
    assert len(packing) == 1
    assert not {"journal", threading.current_thread().name} & set(packing)


async def test_a_storm_of_one_pod_makes_few_writes(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, _):
        held.keep("job", make_pod(text="0"))
        await journal.asked.wait()
        for number in range(1000):
            held.keep("job", make_pod(text=f"line {number}"))

        journal.free.set()
        await held.flush()

        assert journal.calls == 2
        assert await saved(journal) == [make_pod(text="line 999")]


async def test_what_is_kept_while_it_is_being_written_is_not_lost(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, _):
        held.keep("job", make_pod(text="old"))
        await journal.asked.wait()
        held.keep("job", make_pod(text="new"))

        assert await held.pod("job", "crash-1") == make_pod(text="new")


async def test_a_job_that_is_dropped_while_it_is_being_written_is_dropped(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, _):
        held.keep("job", make_pod())
        await journal.asked.wait()
        held.drop("job")
        journal.free.set()
        await held.flush()

        assert await saved(journal) == []
        assert await held.of_job("job") == ()


async def test_a_drop_is_written_without_anything_being_kept(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, _):
        held.drop("job")

        async with asyncio.timeout(5):
            await journal.asked.wait()


async def test_everything_that_waits_is_written_in_small_transactions(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, _):
        for number in range(20):
            held.keep(f"job-{number}", make_pod())
        journal.free.set()
        await held.flush()

        assert len(await Journal.call(journal, evidence.pods)) == 20
        assert journal.calls == 3


async def test_what_is_kept_after_a_drop_stays(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, _):
        held.drop("job")
        held.keep("job", make_pod())
        journal.free.set()
        await held.flush()

        assert await saved(journal) == [make_pod()]


async def test_more_than_memory_may_hold_is_dropped_oldest_first_and_counted(tmp_path: Path) -> None:
    async with holding(tmp_path, memory_bytes=30_000) as (held, _, told):
        for number in range(1, 6):
            held.keep("job", make_pod(f"crash-{number}", "x" * 9_000))

        assert [pod.name for pod in await held.of_job("job")] == ["crash-4", "crash-5"]
        assert told.reasons == ["memory"] * 3


async def test_what_goes_since_all_evidence_is_too_large_is_counted(tmp_path: Path) -> None:
    async with holding(tmp_path, limit_bytes=300) as (held, journal, told):
        journal.free.set()
        for number in range(1, 6):
            held.keep(f"job-{number}", make_pod(f"crash-{number}"))
        await held.flush()

        dropped = told.reasons.count("size")
        assert 0 < dropped < 5
        assert len(await Journal.call(journal, evidence.pods)) == 5 - dropped


async def test_what_the_journal_refuses_can_still_be_told(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, told):
        journal.free.set()
        held.keep("job", make_pod("crash-1"))
        await held.flush()
        held.keep("job", PodEvidence(uid="\ud800", name="no text", created_at="9"))
        await held.flush()

        assert [pod.name for pod in await held.of_job("job")] == ["crash-1", "no text"]
        assert told.reasons == ["refused"]


async def test_what_cannot_be_read_is_told_without(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, _, _):
        held.keep("job", make_pod())
        (tmp_path / "journal.db").rename(tmp_path / "elsewhere.db")

        assert await held.of_job("job") == (make_pod(),)
        assert await held.of_job("other") == ()
        (tmp_path / "elsewhere.db").rename(tmp_path / "journal.db")


async def test_after_an_error_the_journal_is_opened_anew_to_read(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, journal, _):
        journal.free.set()
        held.keep("job", make_pod())
        await held.flush()
        assert await held.pod("job", "crash-1") == make_pod()
        assert held._reader is not None
        held._reader.close()

        with pytest.raises(sqlite3.ProgrammingError):
            await held.pod("job", "crash-1")
        assert await held.pod("job", "crash-1") == make_pod()


async def test_what_is_held_can_be_read_after_closing(tmp_path: Path) -> None:
    async with holding(tmp_path) as (held, _, _):
        assert await held.of_job("job") == ()
        await held.close()

        assert held._reader is None
        assert await held.of_job("job") == ()
