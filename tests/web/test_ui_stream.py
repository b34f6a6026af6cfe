"""The stream tells entries as they come, in order, each once, also after an interruption; and ends with the process."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.datastructures import QueryParams

from app.core.change import Resource
from app.core.identity import sequence_of
from app.core.viewer import ANYBODY
from app.store.journal import Journal
from app.store.ledger import Position
from app.web import stream
from app.web.ledgers import Ledgers
from app.web.stream import Stream, Wish
from app.web.ui.filters import Filters, understood
from tests.builders import make_record
from tests.store.observed import opened
from tests.web.ledgers import checks
from tests.web.pages import get, ledger

POD = Resource(version="v1", kind="Pod", namespace="kube-system", name="dns")


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        yield journal


Still = Callable[[], Awaitable[bool]]


async def always() -> bool:
    return True


def wish(query: str = "", *, after: int = 0, view: str = "entry", still: Still = always) -> Wish:
    filters = understood(QueryParams(query)) if query else Filters()
    return Wish(filters=filters, view=view, after=Position(after), viewer=ANYBODY, still=still)


async def taken(events: AsyncIterator[bytes], count: int) -> list[dict[str, Any]]:
    """Take the data of so many events."""
    found: list[dict[str, Any]] = []
    async for event in events:
        found += data([event])
        if len(found) == count:
            break
    return found


def data(events: Iterable[bytes]) -> list[dict[str, Any]]:
    lines = [line for event in events for line in event.split(b"\n") if line.startswith(b"data: ")]
    return [msgspec.json.decode(line.removeprefix(b"data: ")) for line in lines]


async def test_what_is_recorded_while_somebody_listens_is_told(journal: Journal) -> None:
    told = Stream(Ledgers(journal.path), checks())
    async with aclosing(told.events(wish())) as events:
        await anext(events)
        await journal.append(make_record(cluster="new"))

        (entry,) = await taken(events, 1)

    assert entry["cluster"] == "new"


async def test_only_what_matches_is_told(journal: Journal) -> None:
    for record in (make_record(), make_record(resource=POD), make_record()):
        await journal.append(record)

    async with aclosing(Stream(Ledgers(journal.path), checks()).events(wish("kind=Pod"))) as events:
        (entry,) = await taken(events, 1)

    assert entry["resource"]["kind"] == "Pod"


async def test_who_comes_back_gets_what_came_meanwhile_each_once_and_in_order(journal: Journal) -> None:
    for number in range(450):
        await journal.append(make_record(cluster=str(number)))

    async with aclosing(Stream(Ledgers(journal.path), checks()).events(wish("q=alice"))) as events:
        first = await taken(events, 120)
    after = sequence_of(first[-1]["id"])
    async with aclosing(Stream(Ledgers(journal.path), checks()).events(wish("q=alice", after=after))) as events:
        rest = await taken(events, 330)

    assert [each["cluster"] for each in first + rest] == [str(number) for number in range(450)]


async def test_a_page_is_told_only_ids(journal: Journal) -> None:
    await journal.append(make_record())

    async with aclosing(Stream(Ledgers(journal.path), checks()).events(wish(view="id"))) as events:
        (event,) = await taken(events, 1)

    assert event.keys() == {"id"}


async def test_a_stream_ends_when_the_process_does(journal: Journal) -> None:
    health = checks()
    told = Stream(Ledgers(journal.path), health)
    events = told.events(wish())
    await anext(events)

    health.draining = True

    assert [event async for event in events] == []
    assert told.places.taken == 0


async def test_a_silence_is_broken_by_comments(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "_LOOK_SECONDS", 0)
    async with aclosing(Stream(Ledgers(journal.path), checks()).events(wish())) as events:
        beginning, comment = await anext(events), await anext(events)

    assert (beginning, comment) == (b"retry: 2000\n\n", b": still here\n\n")


async def test_a_stream_without_a_ledger_ends(tmp_path: Path) -> None:
    told = Stream(Ledgers(tmp_path / "nowhere"), checks())

    assert [event async for event in told.events(wish())] == [b"retry: 2000\n\n"]


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("kynd=Pod", "there is no filter 'kynd': did you mean kind?"),
        ("after=x", "after takes the id of an entry"),
        ("view=all", "view takes entry or id"),
        ("since=soon", "since takes how long ago"),
    ],
)
async def test_what_cannot_be_streamed_is_said(tmp_path: Path, query: str, reason: str) -> None:
    await ledger(tmp_path, make_record())

    answer = await get(tmp_path, f"/api/v1/stream?{query}")

    assert answer.status_code == 400
    assert answer.json()["detail"].startswith(reason)


async def test_a_stream_ends_with_the_right_to_listen(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.stream._RIGHTS_ROUNDS", 1)
    answers = [True, False]

    async def still() -> bool:
        return answers.pop(0)

    told = Stream(Ledgers(journal.path), checks())

    assert [event async for event in told.events(wish(still=still))] == [b"retry: 2000\n\n"]
    assert (answers, told.places.taken) == ([], 0)
