"""Entries are found by every filter, newest first, page by page without gaps or repeats."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.core.change import FieldChange, Resource, User
from app.core.identity import EntryIds, sequence_of
from app.store import ledger as ledger_module
from app.store.database import StoreError
from app.store.encoding import inflated, read_entry
from app.store.journal import Journal
from app.store.ledger import Ledger, Position, Query
from tests.builders import START, make_record
from tests.store.observed import opened

IMAGE = FieldChange("spec.template.spec.containers[nginx].image", "replace", "nginx:1", "nginx:2")
POD = Resource(version="v1", kind="Pod", namespace="kube-system", name="dns")
FAR = 86_400_000
"""Milliseconds; what the tests of one run record besides is nearer."""


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        yield journal


@pytest.fixture
def ledger(journal: Journal) -> Iterator[Ledger]:
    with closing(Ledger(journal.path)) as ledger:
        yield ledger


async def kept(journal: Journal, **fields: Any) -> str:
    """Append an entry; return its id."""
    record = make_record(**fields)
    await journal.append(record)
    document: dict[str, Any] = msgspec.json.decode(inflated(record.entry.body))
    return str(document["id"])


def ids(ledger: Ledger, limit: int = 100, before: int | None = None, **filters: Any) -> list[str]:
    page = ledger.search(Query(**filters), limit=limit, before=before)
    return [msgspec.json.decode(item)["id"] for item in page.items]


async def test_entries_come_newest_first(journal: Journal, ledger: Ledger) -> None:
    made = [await kept(journal) for _ in range(5)]

    assert ids(ledger) == made[::-1]


FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"kind": "Pod"}, {"resource": POD}),
    ({"namespace": "kube-system"}, {"resource": POD}),
    ({"name": "dns"}, {"resource": POD}),
    ({"username": "bob"}, {"user": User(username="bob")}),
    ({"operation": "DELETE"}, {"operation": "DELETE"}),
    ({"path": "images"}, {"changes": (IMAGE,)}),
    ({"path": "containers[nginx].image"}, {"changes": (IMAGE,)}),
    ({"since": START + FAR}, {"at_milliseconds": START + FAR}),
    ({"until": START - FAR}, {"at_milliseconds": START - FAR - 1}),
    ({"dry_run": True}, {"dry_run": True}),
    ({"q": "NGINX:2"}, {"changes": (IMAGE,)}),
    ({"kind": "Pod", "username": "bob", "q": "dns"}, {"resource": POD, "user": User(username="bob")}),
]


@pytest.mark.parametrize(("filters", "fields"), FILTERS, ids=str)
async def test_a_filter_finds_what_it_means_and_nothing_else(
    journal: Journal, ledger: Ledger, filters: dict[str, Any], fields: dict[str, Any]
) -> None:
    await kept(journal)
    wanted = await kept(journal, **fields)
    await kept(journal)

    assert ids(ledger, **filters) == [wanted]


@pytest.mark.parametrize("text", ['say "hi"', "a\\b", "line\nbreak", "größe", "🦊", "</script>", "%"])
async def test_any_text_of_an_entry_can_be_looked_for(journal: Journal, ledger: Ledger, text: str) -> None:
    await kept(journal)
    wanted = await kept(journal, changes=(FieldChange("data.a", "replace", "x", f"and {text} so"),))

    assert ids(ledger, q=text) == [wanted]
    assert ids(ledger, q=text.upper()) == [wanted]


async def test_a_large_entry_is_found_as_well(journal: Journal, ledger: Ledger) -> None:
    wanted = await kept(journal, changes=(FieldChange("data.a", "add", new="needle" + "x" * 100_000),))

    assert ids(ledger, q="needle") == [wanted]
    assert ids(ledger, path="data.a") == [wanted]


async def test_pages_have_no_gap_and_no_repeat_while_new_entries_come(journal: Journal, ledger: Ledger) -> None:
    made = [await kept(journal) for _ in range(10)]
    seen, before = list[str](), None

    while True:
        page = ledger.search(Query(), limit=3, before=before)
        seen += [msgspec.json.decode(item)["id"] for item in page.items]
        await kept(journal)
        if page.next is None:
            break
        before = page.next

    assert seen == made[::-1]


async def test_a_search_without_an_index_ends_its_page_early_and_goes_on(
    journal: Journal, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = await kept(journal, cluster="needle")
    for _ in range(5):
        await kept(journal)
    monkeypatch.setattr(ledger_module, "_SCAN_SECONDS", -1.0)

    found, before, pages = list[str](), None, 0
    while True:
        page = ledger.search(Query(q="needle"), limit=10, before=before)
        found += [msgspec.json.decode(item)["id"] for item in page.items]
        pages += 1
        if page.next is None:
            break
        before = page.next

    assert found == [wanted]
    assert pages > 1


async def test_a_page_of_large_entries_ends_early_and_the_next_goes_on(journal: Journal, ledger: Ledger) -> None:
    large = FieldChange("data.a", "add", new="x" * 3_000_000)
    made = [await kept(journal, changes=(large,)) for _ in range(5)]

    first = ledger.search(Query(), limit=100)
    second = ledger.search(Query(), limit=100, before=first.next)

    assert [len(first.items), len(second.items), second.next] == [3, 2, None]
    assert [msgspec.json.decode(item)["id"] for item in (*first.items, *second.items)] == made[::-1]


async def test_an_entry_is_found_by_its_id(journal: Journal, ledger: Ledger) -> None:
    entry_id = await kept(journal)

    found = ledger.record(entry_id.upper())

    assert found is not None
    assert found.entry["id"] == entry_id


async def test_an_id_with_the_same_time_and_other_random_bits_is_another_entry(
    journal: Journal, ledger: Ledger
) -> None:
    entry_id = await kept(journal)
    other = entry_id[:-4] + "beef"

    assert ledger.record(other) is None
    assert ledger.record(EntryIds().next(1, 1)[1]) is None


async def test_an_entry_is_found_by_the_beginning_of_its_id(journal: Journal, ledger: Ledger) -> None:
    made = [await kept(journal, at_milliseconds=START + number * 100_000_000) for number in range(2)]

    (found,) = ledger.find(made[0][:13].upper())

    assert msgspec.json.decode(found)["id"] == made[0]
    assert len(ledger.find(made[0][:4])) == 2
    assert ledger.find("ffffffff") == []


async def test_what_came_after_an_entry_is_followed_oldest_first(journal: Journal, ledger: Ledger) -> None:
    made = [await kept(journal) for _ in range(4)]

    position, followed = ledger.follow(Query(), Position(sequence_of(made[0])), limit=2)

    assert [msgspec.json.decode(document)["id"] for document in followed] == made[1:3]
    assert position == Position(sequence_of(made[2]))
    assert ledger.newest() == sequence_of(made[3])


def test_an_empty_ledger_has_nothing(ledger: Ledger) -> None:
    assert (ids(ledger), ledger.newest(), ledger.follow(Query(), Position(0), 10)) == ([], 0, (Position(0), []))


def test_a_folder_without_a_journal_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no journal at .*nowhere"):
        Ledger(tmp_path / "nowhere" / "journal.db")


HOSTILE = ["' OR 1=1 --", '"; DROP TABLE entries;', "\x00", "%", "🦊", "a" * 10_000, "[", "*"]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_texts_find_nothing(journal: Journal, ledger: Ledger, text: str) -> None:
    await kept(journal)

    for query in (
        Query(kind=text),
        Query(namespace=text),
        Query(name=text),
        Query(username=text),
        Query(operation=text),
    ):
        assert ledger.search(query, limit=10).items == []
    assert len(ids(ledger)) == 1


async def test_a_search_sees_what_was_committed_after_the_ledger_was_opened(journal: Journal, ledger: Ledger) -> None:
    assert ids(ledger) == []

    entry_id = await kept(journal)

    assert ids(ledger) == [entry_id]


@pytest.mark.parametrize("size", [1, 100_000])
def test_an_entry_reads_back_as_it_was_written(size: int) -> None:
    change = FieldChange("data.a", "replace", None, {"b": ["ü" * size, 1.5, True]})

    record = make_record(changes=(IMAGE, change), labels={"a": "b"}, truncated=True)

    entry = read_entry(record.entry.body)
    assert entry.changes == (IMAGE, change)
    assert (entry.labels, entry.truncated) == ({"a": "b"}, True)


async def test_a_damaged_row_hides_no_other(tmp_path: Path, journal: Journal, ledger: Ledger) -> None:
    made = [await kept(journal) for _ in range(3)]
    with closing(sqlite3.connect(journal.path)) as connection, connection:
        connection.execute("UPDATE entries SET body = x'ff00' WHERE seq = ?", (sequence_of(made[1]),))

    _, followed = ledger.follow(Query(), Position(0), limit=5)

    assert ids(ledger) == [made[2], made[0]]
    assert [msgspec.json.decode(document)["id"] for document in followed] == [made[0], made[2]]
    assert ledger.find(made[1]) == []
    assert ledger.record(made[1]) is None
