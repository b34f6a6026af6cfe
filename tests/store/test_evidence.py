"""Evidence is held for each Job until somebody drops it, within bounds, and survives the process."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.core.evidence import ContainerEvidence, Log, PodEvidence, Termination
from app.store import evidence
from app.store.database import connect_reader, connect_writer
from app.store.evidence import drop, held, held_pod, keep, packed, pods, size
from tests.store.observed import opened

NOW = datetime(2026, 1, 2, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(connect_writer(path, "NORMAL")) as connection:
        yield connection


def make_pod(number: int = 1, **fields: Any) -> PodEvidence:
    """A Pod that was created in the second of that number."""
    created = (NOW + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
    return PodEvidence(uid=f"pod-{number}", name=f"crash-{number}", created_at=created, **fields)


def noise(seed: int, length: int) -> str:
    """Text that cannot be deflated much."""
    state, letters = seed * 7919 + 1, []
    for _ in range(length):
        state = (state * 1103515245 + 12345) % 2**31
        letters.append(chr(33 + (state >> 16) % 90))
    return "".join(letters)


def loud(number: int) -> PodEvidence:
    return make_pod(number, logs=(Log(container="app", text=noise(number, 10_000)),))


def names(connection: sqlite3.Connection, job_uid: str = "job") -> list[str]:
    return [pod.name for pod in held(connection, job_uid)]


def job_uids(connection: sqlite3.Connection) -> set[str]:
    return {job_uid for job_uid, _, _ in pods(connection)}


def test_what_was_packed_beforehand_is_kept(connection: sqlite3.Connection) -> None:
    pod = make_pod(1)

    keep(connection, "job", pod, NOW, body=packed(pod))

    assert held(connection, "job") == (pod,)


def test_what_was_kept_is_held_whole(connection: sqlite3.Connection) -> None:
    pod = make_pod(
        node="node-1",
        phase="Failed",
        gone=True,
        containers=(ContainerEvidence(name="app", state="terminated", ended=Termination(exit_code=137)),),
        logs=(Log(container="app", text="grüße\n" * 1000, cut=True, whole_run=True), Log(container="b", note="gone")),
    )

    keep(connection, "job", pod, NOW)

    assert held(connection, "job") == (pod,)
    assert held_pod(connection, "job", pod.uid) == pod


def test_it_is_there_after_the_process_has_ended(path: Path) -> None:
    with closing(connect_writer(path, "FULL")) as before:
        keep(before, "job", make_pod(), NOW)

    with closing(connect_reader(path)) as after:
        assert names(after) == ["crash-1"]


def test_a_pod_is_replaced_not_repeated(connection: sqlite3.Connection) -> None:
    keep(connection, "job", make_pod(phase="Running"), NOW)
    keep(connection, "job", make_pod(phase="Failed"), NOW)

    assert [pod.phase for pod in held(connection, "job")] == ["Failed"]


def test_the_oldest_pod_comes_first_whenever_it_was_kept(connection: sqlite3.Connection) -> None:
    for number in (2, 3, 1):
        keep(connection, "job", make_pod(number), NOW)

    assert names(connection) == ["crash-1", "crash-2", "crash-3"]


def test_jobs_are_held_apart(connection: sqlite3.Connection) -> None:
    keep(connection, "a", make_pod(1), NOW)
    keep(connection, "b", make_pod(2), NOW)

    assert job_uids(connection) == {"a", "b"}
    assert names(connection, "a") == ["crash-1"]
    assert held_pod(connection, "a", "pod-2") is None
    assert [(job, pod) for job, pod, _ in pods(connection)] == [("a", "pod-1"), ("b", "pod-2")]


def test_of_many_pods_the_first_and_the_newest_stay(connection: sqlite3.Connection) -> None:
    for number in range(1, 26):
        keep(connection, "job", make_pod(number), NOW)
    keep(connection, "other", make_pod(100), NOW)

    assert names(connection) == ["crash-1", *(f"crash-{number}" for number in range(17, 26))]
    assert names(connection, "other") == ["crash-100"]


def test_pods_that_arrive_in_any_order_end_the_same(connection: sqlite3.Connection) -> None:
    for number in (13, 2, 25, 7, 1, *range(1, 26)):
        keep(connection, "job", make_pod(number), NOW)

    assert names(connection) == ["crash-1", *(f"crash-{number}" for number in range(17, 26))]


def test_dropped_jobs_are_forgotten_and_counted(connection: sqlite3.Connection) -> None:
    for job, number in (("a", 1), ("a", 2), ("b", 3), ("c", 4)):
        keep(connection, job, make_pod(number), NOW)

    assert drop(connection, ["a", "b", "unknown"]) == 3
    assert job_uids(connection) == {"c"}


def test_the_size_is_that_of_the_bodies_after_any_change(connection: sqlite3.Connection) -> None:
    for number in range(1, 15):
        keep(connection, f"job-{number % 3}", loud(number), NOW)
    keep(connection, "job-1", make_pod(1), NOW)
    drop(connection, ["job-2"])

    (expected,) = connection.execute("SELECT sum(length(body)) FROM evidence").fetchone()
    assert size(connection) == expected > 50_000
    drop(connection, job_uids(connection))
    assert size(connection) == 0


def test_beyond_the_limit_the_job_that_was_still_for_longest_goes_whole(connection: sqlite3.Connection) -> None:
    limit = 36_000
    for age, job, number in ((3, "b", 3), (5, "a", 1), (4, "a", 2), (2, "c", 4)):
        assert keep(connection, job, loud(number), NOW - age * HOUR, limit) == 0

    assert keep(connection, "d", loud(5), NOW, limit) == 2

    assert job_uids(connection) == {"b", "c", "d"}
    assert size(connection) <= limit


def test_the_job_that_is_kept_goes_last(connection: sqlite3.Connection) -> None:
    keep(connection, "job", loud(1), NOW - 9 * HOUR)
    keep(connection, "other", loud(2), NOW)

    assert keep(connection, "job", loud(3), NOW, 20_000) == 1
    assert job_uids(connection) == {"job"}

    assert keep(connection, "job", loud(4), NOW, 20_000) == 3
    assert job_uids(connection) == frozenset()


def test_a_row_that_cannot_be_read_is_passed_over(connection: sqlite3.Connection) -> None:
    keep(connection, "job", make_pod(1), NOW)
    keep(connection, "job", make_pod(2), NOW)
    for body in (b"", b"\x78broken", b"{}"):
        connection.execute("UPDATE evidence SET body = ? WHERE pod_uid = 'pod-1'", (body,))

        assert names(connection) == ["crash-2"]
        assert held_pod(connection, "job", "pod-1") is None


async def test_the_journal_runs_it_beside_its_own_work(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, _):
        assert await journal.call(lambda c: keep(c, "job", make_pod(), NOW)) == 0
        assert await journal.call(names) == ["crash-1"]


@pytest.mark.parametrize("query", [evidence._HELD, evidence._SURPLUS, evidence._OLDEST])
def test_no_question_about_one_job_reads_all_of_them(connection: sqlite3.Connection, query: str) -> None:
    rows = connection.execute(f"EXPLAIN QUERY PLAN {query}", ("job",) * query.count("?")).fetchall()

    steps = [row[3] for row in rows if " evidence" in row[3]]
    assert steps
    assert [step for step in steps if " INDEX " not in step and "PRIMARY KEY" not in step] == []
