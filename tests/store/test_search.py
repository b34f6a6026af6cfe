"""The search index finds what reading every entry would find, at once, and whatever becomes of it."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from app.core.change import FieldChange, Resource, User
from app.store import ledger as ledger_module
from app.store.database import connect_writer
from app.store.ledger import ActorCount, Ledger, Query
from app.store.search import reader, shapes, writer
from app.store.search.file import UnusableIndexError, beside, open_reader, partitions
from app.store.search.indexer import Indexer, Pace
from tests.builders import make_record
from tests.store.observed import opened
from tests.store.searches import at_once, forget, found, indexed, ledger_of, written

IMAGE = FieldChange("spec.template.spec.containers[nginx].image", "replace", "nginx:1", "nginx:2")
SIDECAR = FieldChange("spec.containers[log]", "add", new={"name": "log", "ports": [{"name": "http", "port": 80}]})
POD = Resource(version="v1", kind="Pod", namespace="kube-system", name="dns", uid="1b4f")
ROBOT = User(username="system:serviceaccount:kube-system:hpa")

FILTERS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"kind": "Pod", "namespace": "kube-system"}, {"resource": POD}),
    ({"name": "dns", "operation": "DELETE"}, {"resource": POD, "operation": "DELETE"}),
    ({"username": "bob", "kind": "Deployment"}, {"user": User(username="bob")}),
    ({"path": "images"}, {"changes": (IMAGE,)}),
    ({"path": "containers[nginx].image"}, {"changes": (IMAGE,)}),
    ({"path": "ports[http].port"}, {"changes": (SIDECAR,)}),
    ({"path": "containers.*.ports[0]"}, {"changes": (SIDECAR,)}),
    (
        {"path": "metadata.annotations.example.com/a"},
        {"changes": (FieldChange("metadata.annotations[example.com/a]", "add"),)},
    ),
    ({"dry_run": True}, {"dry_run": True}),
    ({"q": "NGINX:2"}, {"changes": (IMAGE,)}),
    ({"q": 'say "hi"'}, {"changes": (FieldChange("data.a", "add", new='and say "hi" so'),)}),
    ({"q": "GRÖSSE"}, {"changes": (FieldChange("data.a", "add", new="die größe"),)}),
    ({"q": "größe"}, {"changes": (FieldChange("data.a", "add", new="die GRÖSSE"),)}),
    ({"q": "🦊🦊🦊"}, {"changes": (FieldChange("data.a", "add", new="🦊🦊🦊"),)}),
    ({"q": "needle"}, {"changes": (FieldChange("data.a", "add", new="x" * 100_000 + "needle"),)}),
    ({"q": "q7"}, {"changes": (FieldChange("data.a", "add", new="q7"),)}),
    ({"actor": "controller"}, {"user": ROBOT}),
    ({"group": "batch"}, {"resource": Resource(group="batch", kind="Deployment", namespace="shop", name="web")}),
    ({"uid": "1b4f"}, {"resource": POD}),
    ({"uid": "1b4f", "q": "kube-sys", "actor": "human", "dry_run": False}, {"resource": POD}),
]


@pytest.mark.parametrize(("filters", "fields"), FILTERS, ids=str)
def test_a_filter_finds_what_it_means_and_nothing_else(
    tmp_path: Path, filters: dict[str, Any], fields: dict[str, Any]
) -> None:
    journal = ledger_of(tmp_path, {}, {"cluster": "wanted", **fields}, {})
    by_reading = found(journal, Query(**filters))

    indexed(journal)

    assert found(journal, Query(**filters)) == by_reading
    assert len(by_reading) == 1


@pytest.mark.parametrize(("filters", "fields"), [each for each in FILTERS if each[0] != {"q": "q7"}], ids=str)
def test_what_the_index_has_is_found_without_reading_what_does_not_match(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, filters: dict[str, Any], fields: dict[str, Any]
) -> None:
    journal = ledger_of(tmp_path, {"cluster": "wanted", **fields}, *({} for _ in range(50)))
    indexed(journal)

    monkeypatch.setattr(ledger_module, "_SCAN_SECONDS", -1.0)

    assert len(at_once(journal, Query(**filters))) == 1


def test_people_controllers_and_failed_jobs_are_told_apart(tmp_path: Path) -> None:
    names = ("alice", "system:admin", "system:node:a", "system:serviceaccount:a:b", "systems", "")
    journal = ledger_of(tmp_path, *({"user": User(username=name)} for name in names))

    by_reading = [len(found(journal, Query(actor=kind))) for kind in ("human", "controller")]
    indexed(journal)

    assert by_reading == [3, 2]
    assert [len(found(journal, Query(actor=kind))) for kind in ("human", "controller")] == by_reading


def test_what_is_newer_than_the_index_is_found_as_well(tmp_path: Path) -> None:
    journal = ledger_of(tmp_path, {"changes": (IMAGE,)}, {})
    indexed(journal)

    ledger_of(tmp_path, {}, {"changes": (IMAGE,)})

    assert len(found(journal, Query(path="images"))) == 2
    assert found(journal, Query(path="images"), limit=1) == found(journal, Query(q="nginx:2"))


def test_an_entry_that_cannot_be_read_holds_nothing_up(tmp_path: Path) -> None:
    damaged, *others = (make_record(changes=(IMAGE,)).entry for _ in range(3))
    journal = written(tmp_path, others)
    with closing(connect_writer(journal, "NORMAL")) as connection:
        connection.execute(
            "INSERT INTO entries VALUES (?, 'Pod', 'shop', 'web', 'alice', 'UPDATE', ?)", (damaged.seq, b"\x78\x01")
        )

    indexed(journal)

    assert len(found(journal, Query(q="nginx:2"))) == 2


def test_an_object_with_too_many_fields_is_read_for_every_path(tmp_path: Path) -> None:
    huge = FieldChange("data", "add", new={f"key{number}": number for number in range(1000)})
    journal = ledger_of(tmp_path, {"changes": (huge,)}, {})

    indexed(journal)

    assert len(found(journal, Query(path="data.key999"))) == 1
    assert found(journal, Query(path="data.key1000")) == []


def small_partitions(monkeypatch: pytest.MonkeyPatch, entries: int) -> None:
    for module in (reader, writer):
        monkeypatch.setattr(module, "PARTITION", entries)


def test_texts_are_found_across_their_tables_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_partitions(monkeypatch, 4)
    journal = ledger_of(tmp_path, *({"cluster": "wanted" if number % 3 else "other"} for number in range(30)))
    by_reading = found(journal, Query(q="wanted"), limit=3)

    indexed(journal)

    assert found(journal, Query(q="wanted"), limit=3) == by_reading
    assert len(by_reading) == 20


def test_what_retention_forgot_leaves_the_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_partitions(monkeypatch, 4)
    rows = [make_record(cluster=f"cluster-{number}").entry for number in range(20)]
    journal = written(tmp_path, rows)
    index = indexed(journal)

    forget(journal, *(row.seq for number, row in enumerate(rows) if number < 14 and number != 9))
    indexed(journal)

    with closing(open_reader(index)) as connection:
        assert connection.execute("SELECT seq FROM facts ORDER BY seq").fetchall() == [
            (row.seq,) for row in (rows[9], *rows[14:])
        ]
        assert partitions(connection) == [2, 3, 4]
    assert len(found(journal, Query(q="cluster-"))) == 7


def test_what_was_forgotten_a_moment_ago_is_not_found(tmp_path: Path) -> None:
    rows = [make_record(changes=(IMAGE,)).entry for _ in range(3)]
    journal = written(tmp_path, rows)
    indexed(journal)

    forget(journal, rows[0].seq)

    assert len(found(journal, Query(path="images"))) == 2


def test_a_journal_that_forgot_all_goes_on_with_what_comes(tmp_path: Path) -> None:
    rows = [make_record().entry for _ in range(3)]
    journal = written(tmp_path, rows)
    indexed(journal)
    forget(journal, *(row.seq for row in rows))
    indexed(journal)

    ledger_of(tmp_path, {"cluster": "afterwards"})
    indexed(journal)

    assert len(found(journal, Query(q="afterwards"))) == 1


def damage(index: Path) -> None:
    """Overwrite all but the first page, which holds the schema."""
    size = index.stat().st_size
    with index.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def truncate(index: Path) -> None:
    os.truncate(index, index.stat().st_size // 2)


def no_database(index: Path) -> None:
    index.write_bytes(b"not a database at all, but as long as a header must be" * 100)


def damage_texts(index: Path) -> None:
    """Damage what is found to be so only in the middle of a search."""
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("UPDATE texts_0_data SET block = x'a5a5a5a5' WHERE id > 10")


def of_another_boot(index: Path) -> None:
    with closing(sqlite3.connect(index)) as connection, connection:
        connection.execute("UPDATE state SET boot = 'another'")


def of_another_version(index: Path) -> None:
    with closing(sqlite3.connect(index)) as connection:
        connection.execute("PRAGMA user_version = 99")


def missing(index: Path) -> None:
    index.unlink()


HARM = [damage, damage_texts, truncate, no_database, of_another_boot, of_another_version, missing]


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_index_changes_no_result_and_is_made_again(tmp_path: Path, harm: Any) -> None:
    journal = ledger_of(tmp_path, *({"changes": (IMAGE,) * (number % 2)} for number in range(300)))
    index = indexed(journal)
    query = Query(q="nginx:2", path="images")

    harm(index)
    with capture_logs():
        by_reading = found(journal, query)
        indexed(journal)

    assert len(by_reading) == 150
    assert found(journal, query) == by_reading
    with closing(open_reader(index)) as connection:
        assert connection.execute("SELECT count(*) FROM facts").fetchone() == (300,)


@pytest.mark.parametrize("harm", [damage, damage_texts, truncate, no_database])
def test_who_finds_the_index_damaged_makes_room_for_another(tmp_path: Path, harm: Any) -> None:
    journal = ledger_of(tmp_path, *({"changes": (IMAGE,)} for _ in range(300)))
    index = indexed(journal)

    harm(index)
    with capture_logs() as logs:
        found(journal, Query(q="nginx:2", path="images"))

    assert not index.exists()
    assert [log["event"] for log in logs] == ["search index is damaged"]


@pytest.mark.parametrize("harm", [of_another_boot, of_another_version])
def test_an_index_that_is_not_believed_is_left_to_the_server(tmp_path: Path, harm: Any) -> None:
    journal = ledger_of(tmp_path, {"changes": (IMAGE,)})
    index = indexed(journal)

    harm(index)

    assert len(found(journal, Query(path="images"))) == 1
    with pytest.raises(UnusableIndexError):
        open_reader(index)
    assert index.exists()


@pytest.mark.parametrize("harm", [damage, missing])
async def test_an_index_that_is_harmed_while_it_is_followed_is_begun_anew(tmp_path: Path, harm: Any) -> None:
    async with opened(tmp_path) as (journal, _):
        with closing(Indexer(journal.path, rest=0, idle_seconds=0.002)) as indexer, capture_logs():
            indexer.start()
            for number in range(3):
                await journal.append(make_record(cluster=f"cluster-{number}"))
                await until_it_knows(journal.path, number + 1)
                harm(beside(journal.path))
                found(journal.path, Query(q="cluster-", kind="Deployment"))  # who finds it harmed has it removed

            await until_it_knows(journal.path, 3)


async def until_it_knows(journal: Path, entries: int) -> None:
    """Wait until so many entries are indexed."""
    while True:
        try:
            with closing(open_reader(beside(journal))) as connection:
                if connection.execute("SELECT count(*) FROM facts").fetchone() == (entries,):
                    return
        except Exception:  # noqa: BLE001  whatever state it is in, the next one is waited for
            pass
        await asyncio.sleep(0.005)


def test_another_journal_in_the_place_of_the_first_has_an_index_of_its_own(tmp_path: Path) -> None:
    old, new = make_record(cluster="restored").entry, make_record(cluster="newest").entry
    journal = written(tmp_path, [new])
    indexed(journal)
    journal.unlink()
    written(tmp_path, [old])

    with capture_logs():
        indexed(journal)

    assert len(found(journal, Query(q="restored"))) == 1
    assert found(journal, Query(q="newest")) == []


def test_a_batch_that_comes_to_nothing_is_indexed_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = ledger_of(tmp_path, *({"changes": (IMAGE,)} for _ in range(5)))
    calls = list[int]()

    def fails_at_the_third(changes: Any) -> bytes | None:
        calls.append(1)
        if len(calls) == 3:
            raise sqlite3.OperationalError("database or disk is full")
        return shapes.shape_of(changes)

    monkeypatch.setattr(writer, "shape_of", fails_at_the_third)
    with closing(Indexer(journal)) as indexer, capture_logs():
        with pytest.raises(sqlite3.OperationalError):
            indexer.follow()
        while indexer.follow():
            pass

    assert len(found(journal, Query(path="images"))) == 5


KILLED = """
import os, signal, sys
from pathlib import Path
from app.store.search import writer
from app.store.search.indexer import Indexer, Pace
from app.store.search import indexer
indexer._BATCH = 10
calls, shape_of = [], writer.shape_of
def killed(changes):
    calls.append(1)
    if len(calls) == 35:
        os.kill(os.getpid(), signal.SIGKILL)
    return shape_of(changes)
writer.shape_of = killed
follower = Indexer(Path(sys.argv[1]))
while follower.follow():
    pass
"""


def test_an_indexer_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    journal = ledger_of(tmp_path, *({"changes": (IMAGE,)} for _ in range(60)))

    done = subprocess.run([sys.executable, "-c", KILLED, str(journal)], check=False, cwd=Path(__file__).parents[2])

    assert done.returncode == -signal.SIGKILL
    with closing(open_reader(beside(journal))) as connection:
        assert connection.execute("SELECT count(*) FROM facts").fetchone() == (30,)
    half = found(journal, Query(path="images"))
    indexed(journal)
    assert found(journal, Query(path="images")) == half
    assert len(half) == 60


async def test_the_index_follows_the_journal_and_says_how_far_behind_it_is(tmp_path: Path) -> None:
    async with opened(tmp_path) as (journal, _):
        with closing(Indexer(journal.path, rest=0, idle_seconds=0.002)) as indexer:
            indexer.start()
            for _ in range(20):
                await journal.append(make_record(changes=(IMAGE,)))
            await until_it_knows(journal.path, 20)

            assert indexer.behind == 0


class Rests(threading.Event):
    """Remembers how long is rested, and does not."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.seconds.append(timeout or 0)
        return False


def test_work_is_done_in_small_steps_with_a_rest_after_each() -> None:
    rows, rests = [(number, "", "", "", "", "", b"") for number in range(120)], Rests()

    assert list(Pace(rests, 4).paced(rows)) == rows
    assert len(rests.seconds) == 2


def test_the_end_waits_for_no_rest(tmp_path: Path) -> None:
    journal = ledger_of(tmp_path, *({} for _ in range(120)))

    with closing(Indexer(journal, rest=1e9)) as indexer:
        indexer.start()
        while not beside(journal).exists():
            time.sleep(0.001)

    with closing(open_reader(beside(journal))) as connection:
        assert connection.execute("SELECT count(*) FROM facts").fetchone() == (120,)


def test_how_many_entries_are_missing_is_counted(tmp_path: Path) -> None:
    journal = ledger_of(tmp_path, *({} for _ in range(1700)))

    with closing(Indexer(journal)) as indexer:
        steps = [(indexer.follow(), indexer.behind) for _ in range(5)]

    assert steps == [(500, 1200), (500, 700), (500, 200), (200, 0), (0, 0)]


def test_an_index_is_as_private_as_the_journal(tmp_path: Path) -> None:
    assert indexed(ledger_of(tmp_path, {})).stat().st_mode & 0o777 == 0o600


def test_indexing_writes_nothing_to_the_journal(tmp_path: Path) -> None:
    journal = ledger_of(tmp_path, {}, {})
    before = journal.read_bytes()

    indexed(journal)

    assert journal.read_bytes() == before


@pytest.mark.parametrize("with_index", [False, True])
def test_actors_are_counted_the_busiest_first(tmp_path: Path, with_index: bool) -> None:
    users = [User(username=name) for name in ("bob", "alice", "alice", "", "alice")]
    rows = [make_record(user=user, at_milliseconds=1_800_000_000_000 + place).entry for place, user in enumerate(users)]
    journal = written(tmp_path, rows[:3])
    if with_index:
        indexed(journal)
    written(tmp_path, rows[3:])

    with closing(Ledger(journal)) as ledger:
        found_all = ledger.actors(0, 1_900_000_000_000)
        found_later = ledger.actors(1_800_000_000_002, 1_800_000_000_004)

    assert found_all == [ActorCount("alice", 3, rows[4].seq), ActorCount("bob", 1, rows[0].seq)]
    assert found_later == [ActorCount("alice", 1, rows[2].seq)]


def test_values_are_listed_for_completion(tmp_path: Path) -> None:
    resources = [Resource(kind="Pod", name="dns"), Resource(kind="Job", namespace="shop", name="import"), POD]
    journal = ledger_of(tmp_path, *({"resource": resource} for resource in resources))

    with closing(Ledger(journal)) as ledger:
        assert (ledger.words("kind"), ledger.words("namespace")) == (["Job", "Pod"], ["kube-system", "shop"])
        assert (
            ledger.words("name"),
            ledger.words("name", "d"),
            ledger.words("name", "dns"),
            ledger.words("name", "z"),
        ) == (
            ["dns", "import"],
            ["dns"],
            ["dns"],
            [],
        )
        assert ledger.words("username") == ["alice"]
