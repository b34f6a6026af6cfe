"""The last changes of an object come from the journal or from another server; what is not known says why."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from app.core.change import Resource
from app.store.database import FILE_NAME
from app.tls.files import ensure_dev_certificates
from app.watcher.changes import RecentChanges, in_journal, of_server
from app.web.access import guarded
from app.web.server import listen, listener, stop
from tests.builders import START, make_record
from tests.core.recorded_jobs import entry
from tests.kube.api_server import Answer, Exchange, document, lost, serving
from tests.web.doors import door
from tests.web.ledgers import console_of, write

NOW = datetime.fromtimestamp(START / 1000, UTC) + timedelta(days=30)
ABOUT = ("CronJob", "shop", "night", NOW)
MINUTE = 60_000


def changed(minutes_before: float, name: str = "night", kind: str = "CronJob", **fields: Any) -> Any:
    at = int(NOW.timestamp() * 1000 - minutes_before * MINUTE)
    resource = Resource(group="batch", version="v1", kind=kind, namespace="shop", name=name)
    return make_record(at_milliseconds=at, resource=resource, review_uid=f"{minutes_before}", **fields)


def told(documents: list[dict[str, Any]]) -> list[str]:
    return [each["review_uid"] for each in documents]


async def test_the_journal_tells_the_newest_changes_of_this_object_in_the_week_before(tmp_path: Path) -> None:
    week = 7 * 24 * 60
    await write(tmp_path, *map(changed, (week + 1, week - 1, 2, 1, -1)), changed(5, "other"), changed(5, kind="Job"))

    found = await in_journal(tmp_path / FILE_NAME)(*ABOUT)

    assert told(found) == ["1", "2", str(week - 1)]


async def test_of_many_changes_the_journal_tells_the_newest_five(tmp_path: Path) -> None:
    await write(tmp_path, *map(changed, (7, 6, 5, 4, 3, 2, 1)))

    assert told(await in_journal(tmp_path / FILE_NAME)(*ABOUT)) == ["1", "2", "3", "4", "5"]


@asynccontextmanager
async def asking(way: str, data: Path) -> AsyncIterator[RecentChanges]:
    if way == "journal":
        yield in_journal(data / FILE_NAME)
        return
    async with console(data) as url:
        yield of_server(url)


@pytest.mark.parametrize("way", ["journal", "server"])
async def test_behind_many_dry_runs_and_failures_the_newest_five_changes_are_found(tmp_path: Path, way: str) -> None:
    hidden = [changed(10 + number / 100, dry_run=True) for number in range(60)]
    hidden += [changed(5 + number / 100, operation="FAILED") for number in range(8)]
    await write(tmp_path, *map(changed, (70, 60, 50, 40, 30, 20)), *hidden)

    async with asking(way, tmp_path) as recent:
        assert told(await recent(*ABOUT)) == ["20", "30", "40", "50", "60"]


async def test_where_nothing_but_failures_was_read_it_is_said_that_older_entries_were_not(tmp_path: Path) -> None:
    await write(tmp_path, changed(90), *(changed(number, operation="FAILED") for number in range(1, 61)))

    with pytest.raises(LookupError, match="older ones were not read"):
        await in_journal(tmp_path / FILE_NAME)(*ABOUT)


async def test_what_was_found_before_the_server_failed_is_told() -> None:
    first = {"items": [entry("2026-01-31T00:00:00Z", "spec", "1", "2")], "next": "more"}
    async with serving(document(first), document({}, 503)) as server:
        found = await of_server(server.url)(*ABOUT)

    assert [each["user"] for each in found] == [{"username": "alice"}]
    assert [request.parameters.get("cursor") for request in server.requests] == [None, "more"]


async def test_a_server_whose_pages_never_end_is_asked_for_ten() -> None:
    async with serving() as server:
        server.otherwise = document({"items": [], "next": "again"})
        with pytest.raises(LookupError, match="older ones were not read"):
            await of_server(server.url)(*ABOUT)

    assert len(server.requests) == 10


@pytest.mark.parametrize("damage", ["missing", "no database", "no tables", "a directory"])
async def test_a_journal_that_cannot_be_read_is_said_to_be(tmp_path: Path, damage: str) -> None:
    path = tmp_path / FILE_NAME
    if damage == "no database":
        path.write_text("no database" * 100)
    elif damage == "no tables":
        sqlite3.connect(path).close()
    elif damage == "a directory":
        path.mkdir()

    with pytest.raises(LookupError, match=r"^the journal could not be read \(\w+\)$"):
        await in_journal(path)(*ABOUT)


@asynccontextmanager
async def console(data: Path, token: str = "") -> AsyncIterator[str]:
    """The console of a server, on loopback; with a token, every client is another machine."""
    sock = listen("127.0.0.1", 0, "--console-port")
    app = guarded(console_of(data), door(lambda: token))
    server: uvicorn.Server = listener(_seen_from_afar(app) if token else app)
    serving_task = asyncio.create_task(server.serve([sock]))
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
    finally:
        await stop(server, serving_task)  # type: ignore[arg-type]


def _seen_from_afar(app: ASGIApp) -> ASGIApp:
    async def moved(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "client": ("10.0.0.7", 1)}, receive, send)

    return moved


async def test_a_server_tells_what_its_journal_has(tmp_path: Path) -> None:
    week = 7 * 24 * 60
    await write(
        tmp_path, *map(changed, (week + 1, 6, 5, 4, 3)), changed(2, operation="FAILED"), changed(1), changed(-1)
    )

    async with console(tmp_path) as url:
        found = await of_server(url)(*ABOUT)

    assert told(found) == ["1", "3", "4", "5", "6"]


async def test_a_server_is_asked_for_a_week_of_this_object() -> None:
    async with serving(document({"items": [entry("2026-01-31T00:00:00Z", "spec", "1", "2")], "next": None})) as server:
        found = await of_server(server.url + "/")(*ABOUT)

    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/api/v1/entries")
    assert request.parameters == {
        "kind": "CronJob",
        "namespace": "shop",
        "name": "night",
        "dry_run": "false",
        "limit": "5",
        "since": "2026-01-25T03:04:05.000+00:00",
        "until": "2026-02-01T03:04:05.000+00:00",
    }
    assert [each["user"] for each in found] == [{"username": "alice"}]


async def body(text: bytes, exchange: Exchange) -> None:
    await exchange.respond(text)


def says(text: bytes) -> Answer:
    return lambda exchange: body(text, exchange)


async def drips(exchange: Exchange) -> None:
    """Send a byte again and again, so that no single read takes long."""
    await exchange.begin()
    while True:
        await exchange.send(b" ")
        await asyncio.sleep(0.005)


ODD: dict[str, Answer] = {
    "lost": lost,
    "slow": drips,
    "a page": says(b"<html>"),
    "nothing": says(b""),
    "a list": says(b"[]"),
    "no items": says(b'{"next": null}'),
    "items that are null": says(b'{"items": null}'),
    "items that are a map": says(b'{"items": {"a": 1}}'),
    "items that are no entries": says(b'{"items": [1, "a"]}'),
    "no text": says(b'{"items": [{"id": "\xff"}]}'),
    "deep": says(b'{"items": [{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}]}"),
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
async def test_a_server_that_does_not_tell_is_said_not_to(answer: Answer) -> None:
    async with serving(answer) as server:
        with pytest.raises(LookupError, match=r"^the ledger at --ledger-url did not tell \(\w+\)$"):
            async with asyncio.timeout(5):
                await of_server(server.url, timeout_seconds=0.2)(*ABOUT)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (500, "did not tell (it answered 500)"),
        (302, "did not tell (it answered 302)"),
        (401, "wants its console's token, in --ledger-token-file (it answered 401)"),
        (403, "wants its console's token, in --ledger-token-file (it answered 403)"),
    ],
)
async def test_a_server_that_refuses_is_told_with_what_it_answered(status: int, said: str) -> None:
    async with serving(document({"items": []}, status, location="http://127.0.0.1:1/")) as server:
        with pytest.raises(LookupError) as caught:
            await of_server(server.url, token=lambda: "t0ken")(*ABOUT)

    assert str(caught.value) == f"the ledger at --ledger-url {said}"


async def test_a_server_is_shown_the_token_of_the_moment_or_none() -> None:
    tokens = iter(["", "first", "second"])
    async with serving() as server:
        server.otherwise = document({"items": []})
        recent = of_server(server.url, token=lambda: next(tokens))
        for _ in range(3):
            await recent(*ABOUT)

    shown = [request.headers.get("authorization") for request in server.requests]
    assert shown == [None, "Bearer first", "Bearer second"]


async def test_the_token_opens_a_guarded_ledger(tmp_path: Path) -> None:
    await write(tmp_path, changed(1))

    async with console(tmp_path, token="t0ken") as url:
        with pytest.raises(LookupError, match="--ledger-token-file"):
            await of_server(url)(*ABOUT)
        assert told(await of_server(url, token=lambda: "t0ken")(*ABOUT)) == ["1"]


async def test_a_server_that_is_down_is_said_not_to_tell() -> None:
    async with serving() as server:
        url = server.url
    with pytest.raises(LookupError, match="ConnectError"):
        await of_server(url)(*ABOUT)


async def test_a_server_behind_tls_must_prove_who_it_is(tmp_path: Path) -> None:
    ensure_dev_certificates(tmp_path, now=datetime.now(UTC))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "tls.crt", tmp_path / "tls.key")
    async with serving(document({"items": []}), tls=tls) as server:
        with pytest.raises(LookupError, match="ConnectError"):
            await of_server(server.url)(*ABOUT)

    assert server.requests == []
