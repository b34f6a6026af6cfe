"""The API counts entries over time and by actor, and finds what only the search index finds quickly."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core.change import Resource, User
from app.store.journal import Journal
from tests.builders import START, make_record
from tests.store.observed import opened
from tests.store.searches import indexed
from tests.web.ledgers import client_of, console_of

ROBOT = User(username="system:serviceaccount:kube-system:hpa")
JOB = Resource(group="batch", kind="Job", namespace="shop", name="import", uid="1b4f")
HOUR = 3_600_000


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        yield journal


@pytest.fixture
async def client(journal: Journal) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(console_of(journal.path.parent)) as client:
        yield client


async def answer(client: httpx.AsyncClient, path: str, **parameters: str) -> dict[str, Any]:
    response = await client.get(f"/api/v1/{path}", params=parameters)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


@pytest.mark.parametrize("with_index", [False, True])
@pytest.mark.parametrize("parameters", [{"actor": "controller"}, {"group": "batch"}, {"uid": "1b4f"}], ids=str)
async def test_entries_are_found_by_actor_group_and_uid(
    journal: Journal, client: httpx.AsyncClient, parameters: dict[str, str], with_index: bool
) -> None:
    for record in (make_record(), make_record(user=ROBOT, resource=JOB, cluster="wanted"), make_record()):
        await journal.append(record)
    if with_index:
        indexed(journal.path)

    found = await answer(client, "entries", **parameters)

    assert [entry["cluster"] for entry in found["items"]] == ["wanted"]


async def test_an_actor_is_a_human_or_a_controller(client: httpx.AsyncClient) -> None:
    response = await client.get("/api/v1/entries", params={"actor": "robot"})

    assert (response.status_code, response.json()) == (400, {"detail": "actor takes human or controller"})


async def test_entries_are_counted_over_time(journal: Journal, client: httpx.AsyncClient) -> None:
    for hours, fields in ((0, {}), (1, {"operation": "FAILED"}), (1, {"user": ROBOT})):
        await journal.append(make_record(at_milliseconds=START + hours * HOUR, **fields))
    between = {"since": "2026-01-02T03:00:00Z", "until": "2026-01-02T06:00:00Z", "buckets": "3"}

    everything = await answer(client, "histogram", **between)
    controllers = await answer(client, "histogram", **between, actor="controller")

    assert everything["buckets"] == [
        {"at": "2026-01-02T03:00:00.000Z", "total": 1, "failed": 0},
        {"at": "2026-01-02T04:00:00.000Z", "total": 2, "failed": 1},
        {"at": "2026-01-02T05:00:00.000Z", "total": 0, "failed": 0},
    ]
    assert [bucket["total"] for bucket in controllers["buckets"]] == [0, 1, 0]


async def test_without_times_a_histogram_is_of_all_there_is(journal: Journal, client: httpx.AsyncClient) -> None:
    assert await answer(client, "histogram") == {"buckets": []}

    for number in range(3):
        await journal.append(make_record(at_milliseconds=START + number * HOUR))

    buckets = (await answer(client, "histogram"))["buckets"]
    assert sum(bucket["total"] for bucket in buckets) == 3
    assert len(buckets) <= 60


async def test_actors_are_listed_with_what_they_made(journal: Journal, client: httpx.AsyncClient) -> None:
    for number, user in enumerate((ROBOT, User(username="alice"), ROBOT, User())):
        await journal.append(make_record(user=user, at_milliseconds=START + number))

    assert (await answer(client, "actors", since="2026-01-01"))["items"] == [
        {"user": ROBOT.username, "kind": "controller", "total": 2, "last": "2026-01-02T03:04:05.002Z"},
        {"user": "alice", "kind": "human", "total": 1, "last": "2026-01-02T03:04:05.001Z"},
    ]
    assert await answer(client, "actors", until="2026-01-01") == {"items": []}
