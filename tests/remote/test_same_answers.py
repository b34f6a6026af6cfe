"""A ledger gives the same answers as a file, through the API of a console, and spread over replicas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.core.identity import sequence_of
from app.remote.ledger import RemoteLedger
from app.store.database import FILE_NAME
from app.store.ledger import Ledger
from app.store.reading import Field, Page, Position, Reader
from app.store.search.query import Query
from tests.builders import START
from tests.remote.consoles import peers_of, replica, transport
from tests.remote.entries import COUNT, some, write


def named(query: Query) -> str:
    """Return what a query has beside the defaults."""
    given = msgspec.structs.asdict(query).items() - msgspec.structs.asdict(Query()).items()
    return " ".join(f"{name}={value}" for name, value in sorted(given)) or "everything"


END = START + 7_123 * COUNT
QUERIES = [
    Query(),
    Query(kind="Deployment"),
    Query(namespace="shop", name="web"),
    Query(username="alice"),
    Query(operation="FAILED"),
    Query(path="images"),
    Query(path="spec.replicas", actor="human"),
    Query(q="nginx:7"),
    Query(q='"quoted" & escaped/ä+%'),
    Query(dry_run=True),
    Query(dry_run=False, actor="controller"),
    Query(since=START + 7_123 * 3, until=START + 7_123 * 50 + 1),
    Query(group="extensions"),
    Query(uid="u-2"),
    Query(kind="Nothing"),
]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """All entries in one journal, and the same in two others."""
    records = some()
    places = [tmp_path_factory.mktemp(name) for name in ("whole", "first", "second")]
    parts = records, records[::3], [each for number, each in enumerate(records) if number % 3]
    for place, part in zip(places, parts, strict=True):
        write(place, part)
    return places[0], places[1], places[2]


@pytest.fixture(scope="module")
def readers(folders: tuple[Path, Path, Path]) -> Iterator[dict[str, Reader]]:
    whole, first, second = folders
    with ExitStack() as stack:
        way = stack.enter_context(transport(stack.enter_context(replica(whole))))
        peers = stack.enter_context(peers_of(stack.enter_context(replica(second))))
        made: dict[str, Reader] = {
            "file": Ledger(whole / FILE_NAME),
            "console": RemoteLedger(way),
            "replicas": peers.merged(Ledger(first / FILE_NAME), None),
        }
        for each in made.values():
            stack.callback(each.close)
        yield made


@pytest.fixture(params=["console", "replicas"])
def reader(readers: dict[str, Reader], request: pytest.FixtureRequest) -> Reader:
    return readers[request.param]


@pytest.fixture
def file(readers: dict[str, Reader]) -> Reader:
    return readers["file"]


def ids(items: list[msgspec.Raw]) -> list[str]:
    return [msgspec.json.decode(item)["id"] for item in items]


def paged(reader: Reader, query: Query, limit: int) -> Iterator[Page]:
    before: int | None = None
    while True:
        page = reader.search(query, limit=limit, before=before)
        yield page
        before = page.next
        if before is None:
            return


def followed(reader: Reader, query: Query, position: Position, limit: int) -> list[msgspec.Raw]:
    found: list[msgspec.Raw] = []
    while True:
        before = position
        position, items = reader.follow(query, position, limit)
        found += items
        if position == before:
            return found


@pytest.mark.parametrize("query", QUERIES, ids=named)
def test_a_search_finds_the_same_entries_in_the_same_order(reader: Reader, file: Reader, query: Query) -> None:
    expected = [item for page in paged(file, query, 500) for item in page.items]

    assert [item for page in paged(reader, query, 7) for item in page.items] == expected


def test_a_page_has_as_many_entries_as_are_wanted(reader: Reader) -> None:
    assert [len(page.items) for page in paged(reader, Query(), 50)] == [50, 50, 20]


@pytest.mark.parametrize("query", [Query(), Query(kind="Node"), Query(path="spec.replicas")], ids=named)
@pytest.mark.parametrize("limit", [1, 9, 500])
def test_what_came_is_followed_to_the_end(reader: Reader, file: Reader, query: Query, limit: int) -> None:
    start = Position(0)

    assert sorted(ids(followed(reader, query, start, limit))) == ids(followed(file, query, start, 500))


def test_a_position_is_the_end_from_which_nothing_has_come(reader: Reader) -> None:
    position = reader.position()

    assert position.sequence == reader.newest()
    assert reader.follow(Query(), position, 10)[1] == []


@pytest.mark.parametrize("query", QUERIES, ids=named)
@pytest.mark.parametrize("buckets", [1, 60])
def test_a_histogram_counts_the_same(reader: Reader, file: Reader, query: Query, buckets: int) -> None:
    since, until = START + 1, END + 3_600_000

    assert reader.histogram(query, since, until, buckets) == file.histogram(query, since, until, buckets)


def test_a_span_of_no_time_has_no_histogram(reader: Reader) -> None:
    assert reader.histogram(Query(), END, END, 60) == []


def test_actors_are_the_same_to_the_millisecond(reader: Reader, file: Reader) -> None:
    def told(ledger: Reader) -> list[tuple[str, int, int]]:
        return [(each.username, each.total, each.newest >> 12) for each in ledger.actors(START, END)]

    assert told(reader) == told(file)
    assert len(told(file)) == 4


@pytest.mark.parametrize(
    ("field", "beginning"), [("kind", ""), ("kind", "N"), ("username", "system:"), ("name", "w"), ("namespace", "")]
)
def test_words_are_the_same(reader: Reader, file: Reader, field: Field, beginning: str) -> None:
    assert reader.words(field, beginning) == file.words(field, beginning)


def test_an_entry_has_the_same_findings_and_deliveries(reader: Reader, file: Reader) -> None:
    for entry_id in ids(file.search(Query(), limit=30).items):
        found, expected = reader.record(entry_id), file.record(entry_id)
        assert found is not None
        assert expected is not None
        assert found.entry == expected.entry
        assert found.findings == expected.findings
        assert [timeless(each) for each in found.deliveries] == [timeless(each) for each in expected.deliveries]


def timeless(delivery: Any) -> dict[str, Any]:
    """Return a delivery without what each journal numbers and dates for itself."""
    own = {"id", "created_at", "updated_at", "next_attempt_at"}
    return {name: value for name, value in msgspec.structs.asdict(delivery).items() if name not in own}


def test_there_is_no_entry_of_an_unknown_id_and_none_of_what_is_no_id(reader: Reader) -> None:
    assert reader.record("01910000-0000-7000-8000-000000000001") is None
    for read in (reader.record, reader.find):
        with pytest.raises(ValueError, match="id"):
            read("nonsense")


def test_an_entry_is_found_by_the_beginning_of_its_id(reader: Reader, file: Reader) -> None:
    for entry_id in ids(file.search(Query(), limit=10).items):
        assert ids(reader.find(entry_id)) == [entry_id]
        assert ids(reader.find(entry_id[:6])) == ids(file.find(entry_id[:6]))
    assert len(reader.find("019b")) == 2


OBJECTS: list[Callable[[Reader], Any]] = [
    lambda ledger: ledger.of_object("Deployment", "shop", "web"),
    lambda ledger: ledger.of_object("Deployment", "shop", "web", group="apps"),
    lambda ledger: ledger.of_object("Deployment", "shop", "web", uid="u-1"),
    lambda ledger: ledger.of_object("Deployment", "shop", "web", most=13),
    lambda ledger: ledger.of_object("Deployment", "shop", "web", since=START + 7_123 * 20, until=START + 7_123 * 40),
    lambda ledger: ledger.of_object("Node", "", "web"),
    lambda ledger: ledger.of_object("Node", "", "web", group=""),
    lambda ledger: ledger.of_object("Deployment", "", "web"),
    lambda ledger: ledger.places("Deployment", "web"),
    lambda ledger: ledger.places("Node", "web"),
    lambda ledger: ledger.recent_objects(),
    lambda ledger: ledger.newest(),
    lambda ledger: ledger.oldest(),
    lambda ledger: ledger.delivery_counts(),
    lambda ledger: ledger.hits(datetime.fromtimestamp(START / 1000, UTC)),
    lambda ledger: ledger.hits(datetime.now(UTC)),
]


@pytest.mark.parametrize("question", OBJECTS)
def test_everything_else_is_the_same(reader: Reader, file: Reader, question: Callable[[Reader], Any]) -> None:
    assert question(reader) == question(file)


def test_deliveries_are_those_of_the_console_page_by_page(readers: dict[str, Reader]) -> None:
    file, console = readers["file"], readers["console"]
    first = console.deliveries(state="dead", sink="hook", limit=10)

    assert first == file.deliveries(state="dead", sink="hook", limit=10)
    before = first[-1].id
    assert console.deliveries(before=before, limit=500) == file.deliveries(before=before, limit=500)


def test_entries_of_one_millisecond_are_in_the_order_of_their_numbers(file: Reader, reader: Reader) -> None:
    sequences = [sequence_of(each) for each in ids(reader.search(Query(), limit=500).items)]

    assert sequences == sorted(sequences, reverse=True)
    assert len(sequences) == COUNT
