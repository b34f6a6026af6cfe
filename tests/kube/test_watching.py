"""Watches: every way in which a list or a stream can break, and that the view is right afterwards."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from structlog.testing import capture_logs

from app.kube.handling import ChangeKind
from tests.kube.api_server import Answer, ApiServer, Exchange, document, failure, lost, serving, status
from tests.kube.views import JOBS, Clock, View, item, watching


def page(version: int, *items: dict[str, Any], proceed: str = "") -> Answer:
    metadata = {"resourceVersion": str(version), **({"continue": proceed} if proceed else {})}
    return document({"kind": "JobList", "metadata": metadata, "items": items})


def bookmark(version: int) -> tuple[str, Any]:
    return "BOOKMARK", {"kind": "Job", "metadata": {"resourceVersion": str(version)}}


def stream(*events: tuple[str, Any], raw: bytes = b"", then: Literal["ends", "is lost", "stays"] = "stays") -> Answer:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for kind, value in events:
            await exchange.event(kind, value)
        if raw:
            await exchange.send(raw)
        match then:
            case "ends":
                await exchange.end()
            case "is lost":
                exchange.writer.close()
            case "stays":
                await asyncio.Event().wait()

    return answer


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serving() as running:
        running.otherwise = stream()
        yield running


def versions(server: ApiServer) -> list[str]:
    """What each request began from: `list`, `list <token>`, or the resource version of a watch."""
    return [
        request.parameters["resourceVersion"]
        if "watch" in request.parameters
        else " ".join(["list", request.parameters.get("continue", "")]).strip()
        for request in server.requests
    ]


async def test_a_list_comes_in_pages_and_is_watched_from_its_version(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend(
        [
            page(10, item("a", 3), item("b", 4), proceed="after b"),
            page(10, item("c", 2)),
            stream(("ADDED", item("d", 11)), ("MODIFIED", item("a", 12)), ("DELETED", item("b", 13))),
        ]
    )

    async with watching(server, tmp_path, page_size=2, label_selector="x=y") as running:
        await running.view.becomes({"a": 12, "c": 2, "d": 11})

        assert running.watch.synced.is_set()
        assert running.watch.last_error is None
    assert versions(server) == ["list", "list after b", "10"]
    first, _, last = (request.parameters for request in server.requests)
    assert dict(first) == {"limit": "2", "labelSelector": "x=y"}
    assert (last["allowWatchBookmarks"], last["labelSelector"]) == ("true", "x=y")
    assert 300 <= int(last["timeoutSeconds"]) <= 600


async def test_an_empty_list_may_have_no_items(server: ApiServer, tmp_path: Path) -> None:
    server.answers.append(document({"metadata": {"resourceVersion": "7"}, "items": None}))

    async with watching(server, tmp_path):
        await server.requested(2)

    assert versions(server) == ["list", "7"]


async def test_a_watch_goes_on_from_the_last_bookmark_when_it_ends(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend(
        [
            page(10, item("a", 3)),
            stream(bookmark(20), then="ends"),
            stream(("ADDED", item("b", 21)), then="ends"),
            stream(("DELETED", item("b", 22))),
        ]
    )

    async with watching(server, tmp_path) as running:
        await running.view.until(lambda: ("DELETED", "b", 22) in running.view.told)

        assert running.observed.reconnects == ["ended", "ended"]
        assert (running.observed.relists, running.pauses.seconds) == ([], [])
    assert versions(server) == ["list", "10", "20", "21"]


async def test_a_watch_goes_on_where_it_was_when_the_connection_is_lost(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend(
        [
            failure(500, "InternalError"),
            page(10),
            stream(bookmark(20), then="is lost"),
            stream(then="is lost"),
            stream(("ADDED", item("a", 21))),
        ]
    )

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 21})

        assert running.observed.reconnects == ["lost", "lost"]
        assert running.pauses.seconds == [0.5, 0.5, 1.0]
        assert running.watch.last_error is None
    assert versions(server) == ["list", "list", "10", "20", "20"]


@pytest.mark.parametrize(
    "expired",
    [failure(410, "Expired"), failure(410, "Gone"), stream(("ERROR", status(410, "Expired")))],
    ids=["answer", "older answer", "event"],
)
async def test_a_version_that_is_too_old_leads_to_a_new_list(
    server: ApiServer, tmp_path: Path, expired: Answer
) -> None:
    server.answers.extend(
        [page(10, item("a", 3), item("b", 4)), expired, page(30, item("a", 25)), stream(("ADDED", item("c", 31)))]
    )

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 25, "c": 31})

        assert running.observed.relists == ["expired"]
    assert versions(server) == ["list", "10", "list", "30"]


async def test_another_error_event_leads_to_a_new_list_too(server: ApiServer, tmp_path: Path) -> None:
    broken = stream(("ADDED", item("a", 11)), ("ERROR", status(500, "InternalError", "unable to decode an event")))
    server.answers.extend([page(10), broken, page(12, item("a", 12))])

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 12})

        assert running.observed.relists == ["error_event"]


async def test_lists_that_expire_at_once_are_not_repeated_in_a_hurry(server: ApiServer, tmp_path: Path) -> None:
    for _ in range(4):
        server.answers.extend([page(10), failure(410, "Expired")])

    async with watching(server, tmp_path) as running:
        await server.requested(9)

        assert running.pauses.seconds == [0.5, 1.0, 2.0, 4.0]


async def test_a_list_that_expires_is_completed_and_made_again(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend(
        [
            page(10, item("a", 3), item("gone", 4), proceed="old"),
            failure(410, "Expired", proceed="newer"),
            page(20, item("c", 15), proceed="newer still"),
            page(20, item("d", 16)),
            page(30, item("a", 18), item("c", 15), item("d", 16)),
        ]
    )

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 18, "c": 15, "d": 16})
        await server.requested(6)

        assert running.view.lists == 2
        assert running.observed.relists == ["expired"]
    assert versions(server) == ["list", "list old", "list newer", "list newer still", "list", "30"]


async def test_a_list_that_expires_without_a_token_is_begun_again(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend([page(10, item("a", 3), proceed="old"), failure(410, "Expired"), page(20, item("b", 15))])

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"b": 15})

    assert versions(server)[:3] == ["list", "list old", "list"]


async def test_a_page_that_fails_is_asked_for_again_without_those_before(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend(
        [page(10, item("a", 3), proceed="after a"), failure(500, "InternalError"), lost, lost, page(10, item("b", 4))]
    )

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 3, "b": 4})
        await server.requested(6)

        assert (running.view.lists, running.observed.relists) == (1, [])
    assert set(versions(server)[1:-1]) == {"list after a"}


async def test_a_version_that_the_server_has_not_reached_is_waited_for(server: ApiServer, tmp_path: Path) -> None:
    ahead = failure(504, "Timeout", "Too large resource version: 10, current: 9", retry_after="1")
    event = stream(("ERROR", status(504, "Timeout", "Too large resource version: 10, current: 9")))
    server.answers.extend([page(10), ahead, event, stream(("ADDED", item("a", 11)))])

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 11})

        assert running.observed.relists == []
        assert running.pauses.seconds == [1.5, 1.0]
    assert versions(server) == ["list", "10", "10", "10"]


async def test_a_server_that_was_restored_from_a_backup_is_listed_again(server: ApiServer, tmp_path: Path) -> None:
    ahead = failure(504, "Timeout", "Too large resource version: 10, current: 5")
    server.answers.extend([page(10), *[ahead] * 5, page(5, item("old", 5))])

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"old": 5})

        assert running.observed.relists == ["restored"]


async def test_garbage_and_a_torn_line_cost_nothing_but_themselves(server: ApiServer, tmp_path: Path) -> None:
    good = msgspec.json.encode({"type": "ADDED", "object": item("a", 12)}) + b"\n"
    garbage = b'{"type": "ADDED", "obj\n\n{"type":"NEW","object":{}}\n{"type":"ADDED","object":{"metadata":[]}}\n\xff\n'
    torn = b'{"type":"ADDED","object":{"metadata":{"name":"torn","resourceVersion":"13"'
    server.answers.extend([page(10), stream(raw=garbage + good + torn, then="ends"), stream()])

    with capture_logs() as logs:
        async with watching(server, tmp_path) as running:
            await running.view.becomes({"a": 12})
            await server.requested(3)

            assert running.view.told == [("ADDED", "a", 12)]
    assert versions(server) == ["list", "10", "12"]
    events = [log["event"] for log in logs]
    assert (events.count("event not understood"), events.count("object not handled")) == (4, 1)


async def test_a_handler_that_fails_is_told_of_the_next_object(server: ApiServer, tmp_path: Path) -> None:
    class Picky(View):
        def listed(self, item: msgspec.Raw) -> None:
            if b"poison" in bytes(item):
                raise ValueError("not this one")
            super().listed(item)

        def changed(self, event: ChangeKind, item: msgspec.Raw) -> None:
            self.listed(item)
            self._news.set()

    server.answers.extend(
        [
            page(10, item("poison", 1), item("a", 2)),
            stream(("ADDED", item("poison-too", 11)), ("ADDED", item("b", 12)), then="ends"),
        ]
    )

    with capture_logs() as logs:
        async with watching(server, tmp_path, handler=Picky()) as running:
            await running.view.becomes({"a": 2, "b": 12})
            await server.requested(3)

    assert versions(server) == ["list", "10", "12"]
    failed = [(log["on"], log["namespace"], log["name"]) for log in logs if log["event"] == "object not handled"]
    assert failed == [("listed", "shop", "poison"), ("ADDED", "shop", "poison-too")]


async def test_an_object_of_megabytes_arrives(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend([page(10), stream(("ADDED", item("a", 11, data="x" * 5 * 1024 * 1024)))])

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 11})


async def test_an_event_may_trickle(server: ApiServer, tmp_path: Path) -> None:
    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        for byte in msgspec.json.encode({"type": "ADDED", "object": item("a", 11)}) + b"\n":
            await exchange.send(bytes([byte]))
            await asyncio.sleep(0)
        await asyncio.Event().wait()

    server.answers.extend([page(10), answer])

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 11})


async def test_a_server_that_comes_back_is_watched_from_where_it_left(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend([page(10), stream(bookmark(20))])
    down = asyncio.Event()

    async def pause(_seconds: float) -> None:
        down.set()
        await asyncio.sleep(0)

    async with watching(server, tmp_path, pause=pause) as running:
        await running.view.until(lambda: running.view.lists == 1)
        await server.requested(2)
        await server.stop()
        await down.wait()
        error = running.watch.last_error
        server.answers.append(stream(("ADDED", item("a", 21))))
        await server.start()
        await running.view.becomes({"a": 21})

        assert (error is None, running.watch.last_error) == (False, None)
        assert running.observed.relists == []
    assert versions(server)[0] == "list"
    assert versions(server)[-1] in {"10", "20"}


async def test_a_busy_server_is_left_alone_for_as_long_as_it_asks(server: ApiServer, tmp_path: Path) -> None:
    busy = failure(429, "TooManyRequests", retry_after="7")
    server.answers.extend([busy, page(10), busy, stream(("ADDED", item("a", 11)))])

    async with watching(server, tmp_path) as running:
        await running.view.becomes({"a": 11})

        assert running.pauses.seconds == [7.5, 8.0]
        assert running.observed.reconnects == ["429"]


async def test_missing_rights_are_named_and_tried_again(server: ApiServer, tmp_path: Path) -> None:
    errors: list[str | None] = []

    async def pause(_seconds: float) -> None:
        errors.append(running.watch.last_error)

    forbidden = failure(403, "Forbidden", "jobs.batch is forbidden")
    server.answers.extend([forbidden, page(10), forbidden, stream(("ADDED", item("a", 11)))])

    async with watching(server, tmp_path, pause=pause) as running:
        await running.view.becomes({"a": 11})

    listing, following = errors
    assert listing == (
        'may not list jobs.batch in all namespaces: bind to a ClusterRole with apiGroups: ["batch"], '
        'resources: ["jobs"], verbs: ["get", "list", "watch"]. '
        "GET /apis/batch/v1/jobs: 403 Forbidden: jobs.batch is forbidden"
    )
    assert following is not None
    assert following.startswith("may not watch jobs.batch")
    assert versions(server) == ["list", "list", "10", "10"]


async def test_a_silent_connection_is_given_up_and_resumed(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend([page(10), stream(bookmark(20)), stream(("ADDED", item("a", 21)))])

    async with watching(server, tmp_path, lifetime=(0, 0)) as running:
        await running.view.becomes({"a": 21})

        assert running.observed.reconnects == ["lost"]
    assert versions(server) == ["list", "10", "20"]


async def test_watches_that_end_at_once_are_not_resumed_in_a_hurry(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend([page(10), stream(then="ends"), stream(raw=b"<html>\n", then="ends")])

    async with watching(server, tmp_path, clock=Clock()) as running:
        await server.requested(4)

        assert running.observed.reconnects == ["short", "short"]
        assert running.pauses.seconds == [0.5, 1.0]


async def test_a_quiet_watch_that_lasted_is_resumed_without_delay(server: ApiServer, tmp_path: Path) -> None:
    server.answers.extend([page(10), stream(then="ends"), stream(then="is lost")])
    looks = itertools.count(0, 300)

    async with watching(server, tmp_path, clock=lambda: next(looks)) as running:
        await server.requested(4)

        assert running.observed.reconnects == ["ended", "lost"]
        assert running.pauses.seconds == [0.5]


async def test_a_bookmark_is_contact(server: ApiServer, tmp_path: Path) -> None:
    clock = Clock()
    more = asyncio.Event()

    async def answer(exchange: Exchange) -> None:
        await exchange.begin()
        await more.wait()
        await exchange.event(*bookmark(20))
        await exchange.event("ADDED", item("a", 21))
        await asyncio.Event().wait()

    server.answers.extend([page(10, item("b", 1)), answer])

    async with watching(server, tmp_path, clock=clock) as running:
        await running.view.becomes({"b": 1})
        assert running.watch.last_contact == 1000.0
        clock.now = 2000.0
        more.set()
        await running.view.becomes({"a": 21, "b": 1})

        assert running.watch.last_contact == 2000.0


async def test_an_answer_that_is_no_list_is_an_error_that_is_tried_again(server: ApiServer, tmp_path: Path) -> None:
    errors: list[str | None] = []

    async def pause(_seconds: float) -> None:
        errors.append(running.watch.last_error)

    no_version = document({"metadata": {}, "items": []})
    server.answers.extend([document("hello"), no_version, page(10, item("a", 3))])

    async with watching(server, tmp_path, pause=pause) as running:
        await running.view.becomes({"a": 3})

    unreadable, without_version = errors
    assert unreadable is not None
    assert unreadable.startswith(f"GET {JOBS}: no list that can be read")
    assert without_version == f"GET {JOBS}: the list has no resourceVersion"


async def test_only_cancellation_ends_it(server: ApiServer, tmp_path: Path) -> None:
    class Bomb:
        def relisted(self, name: str, reason: str) -> None:
            raise RuntimeError("a bug")

        def reconnected(self, name: str, reason: str) -> None:
            raise RuntimeError("a bug")

    server.answers.extend([page(10), stream(bookmark(20), then="ends"), page(30, item("a", 30))])

    async with watching(server, tmp_path, observer=Bomb()) as running:
        await running.view.until(lambda: running.view.lists == 1)
        await server.requested(2)
        assert not running.task.done()
        running.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running.task
