"""Several replicas are read as one: nothing is lost or told twice, and whoever does not answer is named."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Final

import httpx
import msgspec
import pytest
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.change import Resource
from app.core.identity import entry_id, sequence_of
from app.remote import http, peers
from app.remote.headers import LOCAL, read_namespaces, written_namespaces
from app.remote.merged import MergedLedger
from app.remote.peers import Peers
from app.store import ledger as ledgers
from app.store.database import FILE_NAME
from app.store.encoding import entry_row
from app.store.journal import Record
from app.store.ledger import Ledger
from app.store.reading import Position
from app.store.search.query import Query
from app.web.access import guarded
from app.web.server import listen
from tests.builders import START, make_entry, make_record
from tests.remote.consoles import TOKEN, of, peers_of, replica, served
from tests.remote.entries import write
from tests.web.doors import as_viewer, door
from tests.web.pages import HOSTILE

NODE: Final = Resource(version="v1", kind="Node", name="n1")
POD: Final = Resource(version="v1", kind="Pod", namespace="kube-system", name="dns")


def numbered(sequence: int, random: int, name: str = "") -> Record:
    """A record with a number of one's choice."""
    identified = entry_id(sequence, random)
    return Record(entry_row(sequence, make_entry(id=identified, cluster=name)[1]))


def merged(made: Peers, data_dir: Path, namespaces: frozenset[str] | None = None) -> MergedLedger:
    found = made.merged(Ledger(data_dir / FILE_NAME, namespaces), namespaces)
    assert isinstance(found, MergedLedger)
    return found


def ids(items: list[msgspec.Raw]) -> list[str]:
    return [msgspec.json.decode(item)["id"] for item in items]


def clusters(items: list[msgspec.Raw]) -> list[str]:
    return [msgspec.json.decode(item)["cluster"] for item in items]


class Counted:
    """Counts the requests that an application gets."""

    def __init__(self, app: ASGIApp) -> None:
        self.paths: list[str] = []
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.paths.append(scope["path"])
        await self._app(scope, receive, send)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    return write(tmp_path / "own", [make_record(cluster="own", at_milliseconds=START + 1000)])


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write(tmp_path / "other", [make_record("hook", cluster="other", at_milliseconds=START + 2000)])


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port at which nobody listens."""
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 100])
def test_entries_with_one_number_are_each_told_once_whatever_the_page(tmp_path: Path, limit: int) -> None:
    shared = [(START << 12) + number for number in (1, 2, 2_000, 4_000, 9_000_000)]
    folders = [
        write(tmp_path / str(random), [numbered(sequence, random) for sequence in (*shared, shared[-1] + random)])
        for random in (7, 8, 9)
    ]
    with ExitStack() as stack:
        made = stack.enter_context(peers_of(*(stack.enter_context(replica(each)) for each in folders[1:])))
        ledger = stack.enter_context(closing(merged(made, folders[0])))
        found, before = list[str](), None
        while True:
            page = ledger.search(Query(), limit=limit, before=before)
            found += ids(page.items)
            assert len(page.items) <= max(limit, len(folders))
            before = page.next
            if before is None:
                break

    assert len(found) == len(set(found)) == 18
    assert found == sorted(found, reverse=True)


def test_nothing_is_told_before_what_another_replica_has_not_told_yet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledgers, "_PAGE_BYTES", 1)  # a page of each ends with its first entry
    own = write(tmp_path / "own", [numbered((START << 12) + number, 1) for number in (1, 2, 3, 9)])
    other = write(tmp_path / "other", [numbered((START << 12) + number, 2) for number in (4, 5, 6, 7, 8)])
    with replica(other) as url, peers_of(url) as made, closing(merged(made, own)) as ledger:
        found, page = list[str](), ledger.search(Query(), limit=100)
        while page.next is not None:
            found += ids(page.items)
            page = ledger.search(Query(), limit=100, before=page.next)

    assert [sequence_of(each) - (START << 12) for each in found] == [9, 8, 7, 6, 5, 4, 3, 2, 1]


def test_a_replica_that_is_named_twice_tells_its_entries_once(own: Path, other: Path) -> None:
    with replica(other) as url, peers_of(url, url.replace("127.0.0.1", "localhost")) as made:
        assert len(made.others) == 2
        with closing(merged(made, own)) as ledger:
            assert clusters(ledger.search(Query(), limit=10).items) == ["other", "own"]
            assert clusters(ledger.follow(Query(), Position(0), 10)[1]) == ["own", "other"]


def test_who_does_not_listen_is_named_and_the_others_are_shown(own: Path, other: Path, nobody: str) -> None:
    with replica(other) as url, peers_of(url, nobody) as made, closing(merged(made, own)) as ledger:
        page = ledger.search(Query(), limit=10)

        assert clusters(page.items) == ["other", "own"]
        assert list(ledger.missing) == [nobody.removeprefix("http://")]
        assert "cannot be reached" in str(ledger.missing)


def test_who_did_not_answer_is_not_waited_for_again(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.2)
    silent = listen("127.0.0.1", 0, "")  # takes connections, and says nothing
    with closing(silent), peers_of(f"http://127.0.0.1:{silent.getsockname()[1]}") as made:
        first, second = merged(made, own), merged(made, own)
        with closing(first), closing(second):
            assert clusters(first.search(Query(), limit=10).items) == ["own"]
            silent.close()  # whoever asked now would be refused, which is another reason
            assert clusters(second.search(Query(), limit=10).items) == ["own"]

        assert first.missing == second.missing
        assert "does not answer within 0.2 s" in str(second.missing)


def test_who_answers_again_is_no_more_missing(own: Path, other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "REST_SECONDS", 0)
    sock = listen("127.0.0.1", 0, "")
    port = sock.getsockname()[1]
    sock.close()
    with peers_of(f"http://127.0.0.1:{port}") as made:
        with closing(merged(made, own)) as ledger:
            ledger.search(Query(), limit=1)
            assert ledger.missing
        again = listen("127.0.0.1", port, "")
        with served(as_viewer(of(other)), again), closing(merged(made, own)) as ledger:
            assert clusters(ledger.search(Query(), limit=10).items) == ["other", "own"]
            assert not ledger.missing


def test_an_answer_that_does_not_end_is_not_waited_for(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "ANSWER_SECONDS", 0.2)

    async def drips(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(20):
            await send({"type": "http.response.body", "body": b" ", "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    with served(drips) as url, peers_of(url) as made, closing(merged(made, own)) as ledger:
        ledger.search(Query(), limit=1)

    assert "the answer" in str(ledger.missing)


def test_an_answer_that_is_too_large_is_not_kept(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_ANSWER", 1000)
    large = JSONResponse({"items": ["x" * 2000], "next": None})
    with served(large) as url, peers_of(url) as made, closing(merged(made, own)) as ledger:
        ledger.search(Query(), limit=1)

    assert "the answer is larger than" in str(ledger.missing)


@pytest.mark.parametrize("body", [[], {}, {"items": [1]}, {"items": "x", "next": 3}, {"items": [], "next": "!"}])
def test_an_answer_of_another_shape_makes_its_replica_missing(own: Path, body: object) -> None:
    with served(JSONResponse(body)) as url, peers_of(url) as made, closing(merged(made, own)) as ledger:
        assert clusters(ledger.search(Query(), limit=10).items) == ["own"]

    assert "the answer is not what this version understands" in str(ledger.missing)


def test_a_process_finds_out_that_it_is_asking_itself(own: Path) -> None:
    sock = listen("127.0.0.1", 0, "")
    url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    with peers_of(url, name="") as made, served(as_viewer(of(own, made)), sock):
        for _ in range(2):
            counts = httpx.get(f"{url}/api/v1/histogram?buckets=1", trust_env=False).json()["buckets"]
            assert sum(each["total"] for each in counts) == 1
        answer = httpx.get(f"{url}/api/v1/entries", trust_env=False)

        assert "x-kubewitness-missing" not in answer.headers
        assert httpx.get(f"{url}/api/v1/replicas", trust_env=False).json() == {"items": []}


def test_a_replica_that_is_named_as_its_url_does_not_ask_itself(own: Path) -> None:
    with peers_of("http://witness-0.witness.audit.svc:8080", name="witness-0") as made:
        assert made.others == []
        with closing(Ledger(own / FILE_NAME)) as ledger:
            assert made.merged(ledger, None) is ledger


def test_replicas_are_named_as_their_pods_where_that_tells_them_apart() -> None:
    urls = ["http://w-1.w.a.svc:8080", "http://w.east:1", "http://w.west:2", "http://127.0.0.1:81", "http://[::1]:82"]
    with peers_of(*urls, name="w-0") as made:
        assert [each.name for each in made.others] == ["w-1", "w.east:1", "w.west:2", "127.0.0.1:81", "[::1]:82"]


def test_a_request_between_replicas_is_not_passed_on(own: Path, other: Path) -> None:
    socks = [listen("127.0.0.1", 0, "") for _ in range(2)]
    urls = [f"http://127.0.0.1:{each.getsockname()[1]}" for each in socks]
    with peers_of(urls[1], name="a") as first, peers_of(urls[0], name="b") as second:
        apps = Counted(as_viewer(of(own, first))), Counted(as_viewer(of(other, second)))
        with served(apps[0], socks[0]), served(apps[1], socks[1]):
            both = httpx.get(f"{urls[0]}/api/v1/entries", trust_env=False).json()["items"]
            alone = httpx.get(f"{urls[0]}/api/v1/entries", headers={LOCAL: "1"}, trust_env=False).json()["items"]

    assert [each["cluster"] for each in both] == ["other", "own"]
    assert [each["cluster"] for each in alone] == ["own"]
    assert [len(each.paths) for each in apps] == [2, 1]


@pytest.mark.parametrize(
    ("namespaces", "expected"),
    [
        (None, {"Deployment", "Node", "Pod"}),
        (frozenset({"shop"}), {"Deployment"}),
        (frozenset({"", "shop"}), {"Deployment", "Node"}),
        (frozenset({""}), {"Node"}),
        (frozenset({"none/such,%2C"}), set()),
        (frozenset[str](), set()),
        (frozenset({"shop", *(f"namespace-with-a-long-name-{number}" for number in range(2000))}), {"Deployment"}),
    ],
    ids=["all", "one", "one and none", "of none", "hostile", "nothing", "many"],
)
def test_others_show_no_more_than_who_asks_may_see(
    tmp_path: Path, namespaces: frozenset[str] | None, expected: set[str]
) -> None:
    own = write(tmp_path / "own", [])
    other = write(tmp_path / "other", [make_record(), make_record(resource=NODE), make_record(resource=POD)])
    app = far(guarded(of(other), door(lambda: TOKEN)))
    with served(app) as url, peers_of(url) as made, closing(merged(made, own, namespaces)) as ledger:
        found = ledger.search(Query(), limit=10).items

    assert {msgspec.json.decode(item)["resource"]["kind"] for item in found} == expected
    assert not ledger.missing


@pytest.mark.parametrize(
    "namespaces", [frozenset[str](), frozenset({""}), frozenset({"a"}), frozenset({"", "a", "b,c", "%", "ä", "-"})]
)
def test_namespaces_are_read_as_they_were_written(namespaces: frozenset[str]) -> None:
    assert read_namespaces(written_namespaces(namespaces)) == namespaces


def far(app: ASGIApp) -> ASGIApp:
    """Have requests come from another machine."""

    async def from_afar(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": ("10.244.1.7", 4321)}, receive, send)

    return from_afar


def test_who_does_not_take_the_token_is_missing_and_the_token_is_not_told(own: Path, other: Path) -> None:
    app = far(guarded(of(other), door(lambda: "another")))
    with served(app) as url, peers_of(url) as made, closing(merged(made, own)) as ledger:
        ledger.search(Query(), limit=10)

    (reason,) = ledger.missing.values()
    assert reason.startswith("answers 401: ")
    assert TOKEN not in reason


def test_what_a_replica_tells_late_is_told_though_others_are_ahead(tmp_path: Path, own: Path) -> None:
    late = write(tmp_path / "late", [numbered(START << 12, 1, "old")])
    with replica(late) as url, peers_of(url) as made:
        with closing(merged(made, own)) as ledger:
            position = ledger.position()
            assert ledger.follow(Query(), position, 10)[1] == []
        write(late, [numbered((START << 12) + 5, 1, "late")])
        made.others[0]._newest = (0.0, 0)
        with closing(merged(made, own)) as ledger:
            assert position.sequence > (START << 12) + 5
            position, came = ledger.follow(Query(), position, 10)
            assert clusters(came) == ["late"]
            assert ledger.follow(Query(), position, 10)[1] == []


def test_a_replica_that_was_not_followed_yet_tells_what_comes(tmp_path: Path, own: Path) -> None:
    late = write(tmp_path / "late", [numbered(START << 12, 1, "old")])
    with replica(late) as url, peers_of(url) as made:
        with closing(merged(made, own)) as ledger:
            position, came = ledger.follow(Query(), Position(ledger.newest()), 10)
            assert came == []
        write(late, [numbered((START << 12) + 5, 1, "late")])
        made.others[0]._newest = (0.0, 0)
        with closing(merged(made, own)) as ledger:
            assert clusters(ledger.follow(Query(), position, 10)[1]) == ["late"]


def test_who_follows_another_replica_goes_on_where_they_were(own: Path, other: Path) -> None:
    with replica(other) as other_url, replica(own) as own_url:
        with peers_of(other_url, name="a") as made, closing(merged(made, own)) as ledger:
            position, came = ledger.follow(Query(), Position(0), 10)
            assert clusters(came) == ["own", "other"]
        # What the names of the replicas are is the same for all of them.
        renamed = {"b": position.of[made.others[0].name], own_url.removeprefix("http://"): position.of["a"]}
        with peers_of(own_url, name="b") as made, closing(merged(made, other)) as ledger:
            assert ledger.follow(Query(), Position(position.sequence, renamed), 10)[1] == []


def test_an_entry_says_who_recorded_it(own: Path, other: Path) -> None:
    with replica(other) as url, peers_of(url, name="witness-0") as made, closing(merged(made, own)) as ledger:
        found = [ledger.record(each) for each in ids(ledger.search(Query(), limit=10).items)]

    assert [each.replica for each in found if each] == [url.removeprefix("http://"), "witness-0"]


def test_what_replicas_say_of_themselves_is_harmless(own: Path) -> None:
    hostile = JSONResponse({"detail": HOSTILE}, status_code=500)
    with served(hostile) as url, peers_of(url) as made, served(as_viewer(of(own, made))) as console:
        page = httpx.get(f"{console}/", trust_env=False)
        header = httpx.get(f"{console}/api/v1/entries", trust_env=False).headers["x-kubewitness-missing"]

    assert "are missing at the moment" in page.text
    assert "<script>alert(1)" not in page.text
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith(f"{url.removeprefix('http://')}: answers 500: ")


def test_a_replica_that_does_not_keep_to_the_namespaces_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "0", [])
    write(tmp_path / "1", [make_record(resource=POD)])
    older = as_viewer(of(tmp_path / "1"))  # it sees all, whatever namespaces the request names

    with (
        served(older) as url,
        peers_of(url) as made,
        closing(merged(made, tmp_path / "0", frozenset({"shop"}))) as all_,
    ):
        found = all_.search(Query(), limit=9).items
        missing = dict(all_.missing)

    assert found == []
    assert ["does not say that it keeps to some namespaces" in why for why in missing.values()] == [True]
