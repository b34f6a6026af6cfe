"""What another replica records appears by itself, also where it is told late; what is local does not wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, aclosing, closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.datastructures import QueryParams

from app.core.identity import entry_id
from app.remote import http, merged, peers
from app.remote.headers import POSITION
from app.remote.peers import Peers
from app.remote.wire import read_position, written_position
from app.store.encoding import entry_row
from app.store.journal import Journal, Record
from app.store.reading import Position
from app.web.ledgers import Ledgers
from app.web.server import listen
from app.web.stream import Stream, Wish
from app.web.ui.filters import understood
from tests.builders import START, make_entry
from tests.remote.consoles import of, peers_of, replica
from tests.web.doors import OWNER
from tests.web.ledgers import checks, client_of
from tests.web.pages import Document

NOW = START + 60_000


def identifier(milliseconds: int, name: str) -> str:
    """Ids of one millisecond have one number, and differ."""
    return entry_id(milliseconds << 12, int.from_bytes(name.encode()[:7], "big"))


def record(milliseconds: int, name: str) -> Record:
    identified = identifier(milliseconds, name)
    return Record(entry_row(milliseconds << 12, make_entry(id=identified, cluster=name)[1]))


@pytest.fixture
async def own(tmp_path: Path) -> AsyncIterator[Journal]:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path / "own", stack)


@pytest.fixture
async def other(tmp_path: Path) -> AsyncIterator[Journal]:
    async with AsyncExitStack() as stack:
        yield await opened(tmp_path / "other", stack)


async def opened(folder: Path, stack: AsyncExitStack) -> Journal:
    journal = Journal(folder)
    journal.start()
    stack.push_async_callback(journal.close, 5)
    await journal.append(record(NOW, folder.name))
    return journal


@pytest.fixture
def others(other: Journal, monkeypatch: pytest.MonkeyPatch) -> Iterator[Peers]:
    monkeypatch.setattr(peers, "NEWEST_SECONDS", 0)
    with replica(other.path.parent) as url, peers_of(url, name="witness-0") as made:
        yield made


async def still() -> bool:
    return True


def wish(position: Position, query: str = "", view: str = "entry") -> Wish:
    return Wish(filters=understood(QueryParams(query)), view=view, after=position, viewer=OWNER, still=still)


async def events(stream: AsyncIterator[bytes], count: int) -> list[tuple[str, Any]]:
    """Take so many events: the id and the data of each."""
    found: list[tuple[str, Any]] = []
    async with asyncio.timeout(20):
        async for event in stream:
            lines = dict(line.split(b": ", 1) for line in event.splitlines() if b": " in line)
            if b"data" in lines:
                found.append((lines[b"id"].decode(), msgspec.json.decode(lines[b"data"])))
            if len(found) == count:
                break
    return found


async def test_a_stream_tells_what_any_replica_records(own: Journal, other: Journal, others: Peers) -> None:
    ledgers = Ledgers(own.path, others)
    with closing(ledgers.open(OWNER)) as ledger:
        start = await asyncio.to_thread(ledger.position)
    async with aclosing(Stream(ledgers, checks()).events(wish(start))) as stream:
        await other.append(record(NOW + 5, "from the other"))
        first = await events(stream, 1)
        await own.append(record(NOW + 9, "own"))
        await other.append(record(NOW + 7, "late"))  # with a number below what was told already
        rest = await events(stream, 2)

    assert {each["cluster"] for _, each in first + rest} == {"from the other", "own", "late"}


async def test_who_comes_back_with_the_id_of_an_event_misses_nothing(
    own: Journal, other: Journal, others: Peers
) -> None:
    ledgers = Ledgers(own.path, others)
    for number in range(5):
        await own.append(record(NOW + 10 + number, f"own {number}"))
        await other.append(record(NOW + 5 + number, f"other {number}"))
    wanted = {f"{name} {number}" for name in ("own", "other") for number in range(5)}

    for taken in range(1, 10):
        start = Position(NOW << 12)
        async with aclosing(Stream(ledgers, checks()).events(wish(start))) as stream:
            before = await events(stream, taken)
        async with aclosing(Stream(ledgers, checks()).events(wish(read_position(before[-1][0])))) as stream:
            missed = wanted - {each["cluster"] for _, each in before}
            after: set[str] = set()
            while not missed <= after:
                after |= {each["cluster"] for _, each in await events(stream, 1)}


async def test_rows_that_come_late_are_given_to_an_open_page(own: Journal, other: Journal, others: Peers) -> None:
    async with client_of(of(own.path.parent, others)) as client:
        page = Document((await client.get("/")).text)
        (button,) = [found for name, found in page.tags if "data-position" in found]
        await own.append(record(NOW + 9, "own"))
        first = await rows(client, str(button["data-position"]))
        await other.append(record(NOW + 7, "late"))
        second = await rows(client, first.headers[POSITION])
        third = await rows(client, second.headers[POSITION])

    assert len(page.ids()) == 2
    assert Document(first.text).ids() == [identifier(NOW + 9, "own")]
    assert Document(second.text).ids() == [identifier(NOW + 7, "late")]
    assert Document(third.text).ids() == []


async def rows(client: httpx.AsyncClient, position: str) -> httpx.Response:
    return (await client.get("/rows", params={"after": position})).raise_for_status()


async def test_a_page_that_is_far_behind_gets_the_newest_rows(own: Journal, others: Peers) -> None:
    for number in range(1, 260):
        await own.append(record(NOW + number, f"{number}"))
    async with client_of(of(own.path.parent, others)) as client:
        answer = await rows(client, written_position(Position(NOW << 12)))
        nothing = await rows(client, answer.headers[POSITION])

    assert Document(answer.text).ids() == [identifier(NOW + number, f"{number}") for number in range(259, 209, -1)]
    assert Document(nothing.text).ids() == []


async def test_what_is_local_does_not_wait_for_long_for_who_is_silent(
    own: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merged, "FOLLOW_SECONDS", 0.05)
    monkeypatch.setattr(merged, "PATIENCE_SECONDS", 60)
    monkeypatch.setattr(http, "ANSWER_SECONDS", 60)
    silent = listen("127.0.0.1", 0, "")  # takes connections, and says nothing
    with closing(silent), peers_of(f"http://127.0.0.1:{silent.getsockname()[1]}") as made:
        async with aclosing(Stream(Ledgers(own.path, made), checks()).events(wish(Position(0)))) as stream:
            ((_, entry),) = await events(stream, 1)

    assert entry["cluster"] == "own"


async def test_a_request_between_replicas_is_streamed_what_is_local(own: Journal, others: Peers) -> None:
    local = msgspec.structs.replace(wish(Position(0)), is_local=True)
    async with aclosing(Stream(Ledgers(own.path, others), checks()).events(local)) as stream:
        ((_, entry),) = await events(stream, 1)
        await own.append(record(NOW + 1, "next"))
        ((_, following),) = await events(stream, 1)

    assert [entry["cluster"], following["cluster"]] == ["own", "next"]


def test_a_position_that_is_longer_than_any_is_none() -> None:
    many = Position(1, {f"witness-{number}": 1 for number in range(1000)})

    with pytest.raises(ValueError, match="no position"):
        read_position(written_position(many))
