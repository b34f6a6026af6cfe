"""What other replicas get wrong leaves the own ledger readable, and nothing out without a word."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from fastapi import FastAPI
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.moments import written
from app.remote import merged as merging
from app.remote.headers import INSTANCE
from app.remote.ledger import RemoteLedger
from app.remote.merged import MergedLedger
from app.remote.peers import Peers
from app.remote.transport import RemoteError
from app.store.database import FILE_NAME
from app.store.ledger import Ledger
from app.store.paging import pages
from app.store.search.query import Query
from app.web.ledgers import Ledgers
from app.web.replicas import Chosen, queued_again
from tests.builders import START, make_record
from tests.remote.consoles import peers_of, replica, served
from tests.remote.entries import write


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write(tmp_path / "own", [make_record(cluster="own", at_milliseconds=START + 1000)])


def merged(made: Peers, data_dir: Path) -> MergedLedger:
    found = made.merged(Ledger(data_dir / FILE_NAME), None)
    assert isinstance(found, MergedLedger)
    return found


def clusters(items: list[msgspec.Raw]) -> list[str]:
    return [msgspec.json.decode(item)["cluster"] for item in items]


class Endless:
    """A console whose pages go on where they began."""

    def get(self, path: str, parameters: Mapping[str, str]) -> bytes:
        assert path == "api/v1/entries"
        return msgspec.json.encode({"items": [], "next": parameters.get("cursor", "AAAAAAAAAAk")})


def test_pages_that_do_not_go_on_come_to_an_end() -> None:
    with pytest.raises(RemoteError, match="a page continues where it began"):
        list(pages(RemoteLedger(Endless()), Query()))


def test_what_another_version_counts_in_other_spans_is_with_ours(own: Path) -> None:
    since, until = START, START + 10_000
    counts = [{"at": written(START + at), "total": 1, "failed": 1} for at in (0, 2500, 5000, 7500)]
    with (
        served(JSONResponse({"buckets": counts})) as url,
        peers_of(url) as made,
        closing(merged(made, own)) as ledger,
    ):
        mine = Ledger(own / FILE_NAME)
        with closing(mine):
            starts = [each.at for each in mine.histogram(Query(), since, until, 2)]
        found = ledger.histogram(Query(), since, until, 2)

    assert [each.at for each in found] == starts
    assert sum(each.total for each in found) == 5
    assert sum(each.failed for each in found) == 4


def test_replicas_at_one_place_are_told_apart_by_their_urls() -> None:
    urls = ["http://consoles.example:8080/a", "http://consoles.example:8080/b"]
    with peers_of(*urls, name="w-0") as made:
        assert [each.name for each in made.others] == urls


class InTurns:
    """A Service of two processes, which answer in turns."""

    def __init__(self, *instances: str) -> None:
        self._instances: Iterator[str] = iter(instances)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {INSTANCE: next(self._instances)}
        answer: ASGIApp = JSONResponse({"items": [], "next": None}, headers=headers)
        await answer(scope, receive, send)


def test_a_service_that_leads_to_this_process_at_times_is_told(own: Path) -> None:
    turns = InTurns("another", "this")
    with served(turns) as url, peers_of(url) as made:
        turns._instances = iter(("another", made.instance))
        for expected in ("", "each replica needs a URL of its own"):
            with closing(merged(made, own)) as ledger:
                assert clusters(ledger.search(Query(), limit=10).items) == ["own"]
                assert expected in "".join(ledger.missing.values())
                assert bool(ledger.missing) == bool(expected)

        assert len(made.others) == 1


def test_what_is_queued_again_by_who_does_not_say_so_is_no_success(own: Path) -> None:
    with served(JSONResponse(["garbage"])) as url, peers_of(url) as made:
        ledgers = Ledgers(own / FILE_NAME, made)

        with pytest.raises(RemoteError, match="not what this version understands"):
            queued_again(ledgers, made.others[0].name, Chosen(ids=[1]))


def test_who_holds_a_thread_for_too_long_gets_no_other(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(merging, "PATIENCE_SECONDS", 0.05)
    other = write(tmp_path / "other", [])
    end, asked = threading.Event(), list[int]()

    def stuck(part: merging.Part) -> None:
        asked.append(1)
        assert part.peer.name
        assert end.wait(30)

    with replica(other) as url, peers_of(url) as made:
        for _ in range(2):
            with closing(merged(made, own)) as ledger:
                assert ledger._each(lambda: None, stuck, 0.05) == {ledger.name: None}
                assert "does not answer within 0.05 s" in str(ledger.missing)
        end.set()

    assert asked == [1]


def test_who_does_not_know_a_path_is_said_to_be_older_and_asked_on(own: Path) -> None:
    older = FastAPI()
    older.add_api_route("/api/v1/entries", lambda: {"items": [], "next": None})
    with served(older) as url, peers_of(url) as made, closing(merged(made, own)) as ledger:
        assert ledger.actors(START, START + 10_000)
        assert "answers 404: Not Found: it is of an older version, or no console" in str(ledger.missing)
        assert ledger.record("019ab2c3-d4e5-7f60-8000-000000000000") is None
        with closing(merged(made, own)) as another:
            assert clusters(another.search(Query(), limit=10).items) == ["own"]
            assert not another.missing
