"""What a ledger of some namespaces shows, and how it goes through the entries of few among those of many."""

from __future__ import annotations

import itertools
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.core.change import Resource
from app.store import ledger as ledger_module
from app.store.database import connect_reader
from app.store.ledger import Ledger, Position, Query
from app.store.scope import scope_of, sequences
from app.store.search import rows as rows_module
from tests.builders import make_record
from tests.store.searches import indexed, written

NOON = 1_767_355_200_000
KUBE = frozenset({"kube-system"})


def of(namespace: str, **fields: Any) -> dict[str, Any]:
    return {"resource": Resource(version="v1", kind="Pod", resource="pods", namespace=namespace, name="web"), **fields}


def ledger_of(folder: Path, *entries: dict[str, Any]) -> tuple[Path, list[str], list[int]]:
    """Write entries, a millisecond apart; return the journal, their ids and their sequence numbers."""
    rows = [make_record(at_milliseconds=NOON + place, **each).entry for place, each in enumerate(entries)]
    return written(folder, rows), [msgspec.json.decode(row.body)["id"] for row in rows], [row.seq for row in rows]


@pytest.mark.parametrize("order", [False, True])
def test_the_entries_of_several_namespaces_come_in_order(tmp_path: Path, order: bool) -> None:
    places = itertools.islice(itertools.cycle(("a", "b", "c", "b", "")), 700)
    names = list(places)
    journal, _, numbers = ledger_of(tmp_path, *map(of, names))
    expected = [seq for name, seq in zip(names, numbers, strict=True) if name in ("", "b")][10:-10]

    with closing(connect_reader(journal)) as connection:
        scope = scope_of(frozenset({"", "b", "nowhere"}))
        found = list(sequences(connection, scope, expected[0], expected[-1] + 1, oldest_first=order))

    assert found == (expected if order else expected[::-1])


def test_an_entry_of_another_namespace_is_as_if_it_were_not_there(tmp_path: Path) -> None:
    journal, (entry,), _ = ledger_of(tmp_path, of("shop"))

    with closing(Ledger(journal, KUBE)) as ledger:
        assert (ledger.record(entry), ledger.find(entry), ledger.places("Pod", "web")) == (None, [], [])
        assert ledger.of_object("Pod", "shop", "web") == []


def test_who_asks_for_another_namespace_by_name_finds_nothing(tmp_path: Path) -> None:
    journal, _, _ = ledger_of(tmp_path, of("shop"), of("kube-system"))

    for _ in range(2):
        with closing(Ledger(journal, KUBE)) as ledger:
            for query in (
                Query(namespace="shop"),
                Query(namespace="shop", kind="Pod"),
                Query(namespace="shop", q="web"),
            ):
                assert ledger.search(query, limit=9).items == []
                assert sum(each.total for each in ledger.histogram(query, NOON, NOON + 9_000, 5)) == 0
        indexed(journal)


def test_what_others_do_is_followed_without_being_shown(tmp_path: Path) -> None:
    journal, ids, numbers = ledger_of(tmp_path, of("shop"), of("kube-system"), of("shop"))

    with closing(Ledger(journal, KUBE)) as ledger:
        position, came = ledger.follow(Query(), Position(0), 10)

        assert [msgspec.json.decode(each)["id"] for each in came] == ids[1:2]
        assert position == Position(numbers[2])
        assert ledger.follow(Query(), position, 10) == (position, [])


def test_more_that_is_seen_than_fits_is_told_with_the_next_look(tmp_path: Path) -> None:
    journal, ids, _ = ledger_of(tmp_path, of("kube-system"), of("shop"), of("kube-system"), of("kube-system"))

    with closing(Ledger(journal, KUBE)) as ledger:
        position, first = ledger.follow(Query(), Position(0), 2)
        _, second = ledger.follow(Query(), position, 2)

    assert [msgspec.json.decode(each)["id"] for each in (*first, *second)] == [ids[0], ids[2], ids[3]]


def test_a_name_that_sql_would_cut_short_is_no_other_namespace(tmp_path: Path) -> None:
    journal, _, _ = ledger_of(tmp_path, of("kube-system"))

    with closing(Ledger(journal, frozenset({"kube-system\0shop"}))) as ledger:
        assert ledger.search(Query(), limit=9).items == []


def test_a_search_that_finds_nothing_for_long_ends_early_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal, _, numbers = ledger_of(tmp_path, *(of("shop", operation="DELETE") for _ in range(5)))
    monkeypatch.setattr(ledger_module, "_SCAN_SECONDS", 0)
    monkeypatch.setattr(rows_module, "_CHUNK", 2)
    query, before, steps = Query(kind="Secret", operation="DELETE", namespace="shop"), None, list[int | None]()

    with closing(Ledger(journal)) as ledger:
        monkeypatch.setattr(rows_module, "_rarest", lambda drivers: drivers[1]())
        while not steps or before is not None:
            page = ledger.search(query, limit=9, before=before)
            before = page.next
            steps.append(before)

    assert steps == [numbers[3], numbers[1], numbers[0], None]


def test_values_to_complete_are_those_of_the_namespaces_with_and_without_the_index(tmp_path: Path) -> None:
    named = [of("shop"), of("kube-system"), of("")]
    for place, each in enumerate(named):
        each["resource"] = msgspec.structs.replace(each["resource"], name=f"web-{place}")
    journal, _, _ = ledger_of(tmp_path, *named)

    for _ in range(2):
        with closing(Ledger(journal, frozenset({"", "kube-system"}))) as ledger:
            assert ledger.words("name", "web") == ["web-1", "web-2"]
            assert ledger.words("namespace") == ["kube-system"]
        indexed(journal)
