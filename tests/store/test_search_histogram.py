"""Histograms count every entry once, in round buckets, with the index and without it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from app.core.change import FieldChange
from app.store.ledger import Ledger, Query
from app.store.search import counting
from app.store.search.histogram import Spans
from tests.builders import make_record
from tests.store.searches import forget, indexed, ledger_of, written

HOUR = 3_600_000
NOON = 1_767_355_200_000
"""2026-01-02T12:00:00Z."""


def counted(journal: Path, query: Query, since: int = NOON, until: int = NOON + 4 * HOUR, most: int = 4) -> list[int]:
    with closing(Ledger(journal)) as ledger:
        return [bucket.total for bucket in ledger.histogram(query, since, until, most)]


@pytest.mark.parametrize(
    ("since", "until", "most", "width", "starts"),
    [
        (NOON, NOON + 4 * HOUR, 4, HOUR, 4),
        (NOON, NOON + 4 * HOUR, 3, 2 * HOUR, 2),
        (NOON + 1, NOON + 4 * HOUR, 4, HOUR, 4),
        (NOON - 1, NOON + 4 * HOUR, 5, HOUR, 5),
        (NOON, NOON + 10, 60, 1000, 1),
        (NOON - 30 * 24 * HOUR, NOON, 59, 24 * HOUR, 31),
        (NOON - 30 * 24 * HOUR, NOON, 60, 12 * HOUR, 60),
        (0, NOON, 3, 28 * 24 * HOUR * 244, 3),
    ],
)
def test_buckets_are_round_and_no_more_than_wanted(since: int, until: int, most: int, width: int, starts: int) -> None:
    spans = Spans(since, until, most)

    assert (spans.width, len(spans.starts)) == (width, starts)
    assert spans.starts[0] <= since
    assert spans.starts[-1] < until <= spans.starts[-1] + width
    assert all(start % width == 0 for start in spans.starts)


@pytest.mark.parametrize("share", [0, 3, 6])
def test_every_entry_is_in_the_bucket_of_its_time(tmp_path: Path, share: int) -> None:
    minutes = (-1, 0, 59, 60, 239, 240)
    rows = [make_record(at_milliseconds=NOON + minute * 60_000).entry for minute in minutes]
    journal = written(tmp_path, rows[:share])
    if share:
        indexed(journal)
    written(tmp_path, rows[share:])

    assert counted(journal, Query()) == [2, 1, 0, 1]
    assert counted(journal, Query(since=NOON + 1, until=NOON + 2 * HOUR)) == [1, 1, 0, 0]
    assert counted(journal, Query(q="deploy")) == [2, 1, 0, 1]


def test_failed_jobs_are_counted_beside(tmp_path: Path) -> None:
    journal = ledger_of(
        tmp_path,
        *({"operation": operation, "at_milliseconds": NOON} for operation in ("FAILED", "UPDATE", "FAILED")),
    )
    indexed(journal)
    ledger_of(tmp_path, {"operation": "FAILED", "at_milliseconds": NOON + 1})

    for query in (Query(), Query(q="deploy"), Query(kind="Deployment", actor="human")):
        with closing(Ledger(journal)) as ledger:
            (bucket,) = ledger.histogram(query, NOON, NOON + HOUR, 1)

        assert (bucket.at, bucket.total, bucket.failed) == (NOON, 4, 3)


def test_entries_that_only_look_like_the_text_are_not_counted(tmp_path: Path) -> None:
    texts = ("abcd", "abc bcd", "abxcd")
    changes = [(FieldChange("data.a", "add", new=text),) for text in texts]
    journal = ledger_of(tmp_path, *({"changes": each, "at_milliseconds": NOON} for each in changes))
    indexed(journal)

    assert counted(journal, Query(q="abcd"), most=1) == [1]


def test_too_many_to_be_read_are_counted_by_their_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = ledger_of(tmp_path, *({"at_milliseconds": NOON} for _ in range(5)))
    indexed(journal)

    monkeypatch.setattr(counting, "_VERIFIED", 2)

    assert counted(journal, Query(q="deployment"), most=1) == [5]
    assert counted(journal, Query(q="deployment", kind="Pod"), most=1) == [0]


def test_there_is_no_histogram_where_counting_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = ledger_of(tmp_path, *({"at_milliseconds": NOON} for _ in range(5)))

    monkeypatch.setattr(counting, "_SECONDS", -1.0)

    assert counted(journal, Query(q="deployment")) == []
    indexed(journal)
    assert counted(journal, Query(q="deployment"), most=1) == [5]
    assert counted(journal, Query(q="de"), most=1) == []


def test_what_was_forgotten_is_not_counted(tmp_path: Path) -> None:
    rows = [make_record(at_milliseconds=NOON + number).entry for number in range(4)]
    journal = written(tmp_path, rows)
    indexed(journal)

    forget(journal, rows[0].seq, rows[1].seq)

    assert counted(journal, Query(), most=1) == [2]


def test_no_time_and_no_entries_have_no_buckets_with_entries(tmp_path: Path) -> None:
    journal = ledger_of(tmp_path)

    assert counted(journal, Query(), since=NOON, until=NOON) == []
    assert counted(journal, Query()) == [0, 0, 0, 0]
