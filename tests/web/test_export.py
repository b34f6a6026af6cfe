"""All that the filters find can be taken away as a file, which is whole or can be seen not to be."""

from __future__ import annotations

import asyncio
import csv
import io
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from app.core.change import FieldChange, FindingSummary, Resource
from app.store.database import FILE_NAME
from app.store.paging import AT_ONCE
from app.web.console import Console
from app.web.download import Download
from app.web.export import MOST
from app.web.server import listen, listener, stop
from tests.builders import START, make_record
from tests.web.doors import OWNER, as_viewer
from tests.web.ledgers import client_of, console_of, write

CHANGES = (FieldChange("spec.replicas", "replace", 1, 3), FieldChange("spec.paused", "add", new=True))
POD = Resource(version="v1", kind="Pod", namespace="shop", name="dns")
TOLD = FindingSummary("images", "web changed", "INFO")
ADDRESSES = ["/export.csv", "/export.jsonl", "/api/v1/export", "/api/v1/export?format=jsonl"]


async def get(data_dir: Path, address: str, method: str = "GET", **parameters: str) -> httpx.Response:
    async with client_of(console_of(data_dir)) as client:
        url = httpx.URL(address).copy_merge_params(parameters)
        return await client.request(method, url, headers={"accept": "text/html"})


def table(answer: httpx.Response) -> list[dict[str, str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"), newline=""), strict=True))


def documents(answer: httpx.Response) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    return [msgspec.json.decode(line) for line in answer.content.splitlines()]


async def test_json_lines_are_what_the_api_lists(tmp_path: Path) -> None:
    await write(tmp_path, make_record(changes=CHANGES, findings=(TOLD,)), make_record(resource=POD))

    exported = documents(await get(tmp_path, "/export.jsonl"))

    assert exported == (await get(tmp_path, "/api/v1/entries")).json()["items"]
    assert exported[1]["findings"][0]["playbook"] == "images"


async def test_there_is_all_of_it_over_many_pages(tmp_path: Path) -> None:
    number = 2 * AT_ONCE + 7
    await write(tmp_path, *(make_record(changes=CHANGES) for _ in range(number)))

    rows, lines = table(await get(tmp_path, "/export.csv")), documents(await get(tmp_path, "/export.jsonl"))

    assert len(lines) == len({line["id"] for line in lines}) == number
    assert [row["entry"] for row in rows if row["change"] == "1"] == [line["id"] for line in lines]
    assert len(rows) == 2 * number


@pytest.mark.parametrize("address", ["/export.csv", "/api/v1/export"])
async def test_filters_are_those_of_the_page(tmp_path: Path, address: str) -> None:
    await write(tmp_path, make_record(changes=CHANGES), make_record(resource=POD))

    assert [row["kind"] for row in table(await get(tmp_path, address, kind="pod"))] == ["Pod"]
    assert [row["path"] for row in table(await get(tmp_path, address, path="replicas"))] == [
        "spec.replicas",
        "spec.paused",
    ]
    assert len(table(await get(tmp_path, address, path="replicas", rows="entries"))) == 1


async def test_entries_that_come_later_do_not_keep_it_from_ending(tmp_path: Path) -> None:
    await write(tmp_path, make_record(), make_record(at_milliseconds=32_503_680_000_000))

    assert len(documents(await get(tmp_path, "/export.jsonl"))) == 1


@pytest.mark.parametrize("address", ADDRESSES)
async def test_the_file_is_kept_by_its_period_and_shown_by_no_browser(tmp_path: Path, address: str) -> None:
    await write(tmp_path, make_record(at_milliseconds=START))

    answer = await get(tmp_path, address, until="2026-02-01")

    name = "kubewitness_2026-01-02T0304Z_2026-02-01T0000Z"
    ending = "jsonl" if "jsonl" in address else "csv"
    assert answer.headers["content-disposition"] == f'attachment; filename="{name}.{ending}"'
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("address", ADDRESSES)
async def test_who_asks_for_the_head_gets_that_alone(tmp_path: Path, address: str) -> None:
    await write(tmp_path, make_record())

    head, whole = await get(tmp_path, address, "HEAD"), await get(tmp_path, address)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-disposition"] == whole.headers["content-disposition"]
    assert head.headers["content-type"] == whole.headers["content-type"]


async def test_an_empty_ledger_is_a_table_without_rows(tmp_path: Path) -> None:
    await write(tmp_path)

    assert table(await get(tmp_path, "/export.csv")) == []
    assert documents(await get(tmp_path, "/export.jsonl")) == []


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/export.csv?kynd=Pod", 400, "did you mean kind?"),
        ("/export.csv?since=tomorow", 400, "since takes"),
        ("/export.csv?rows=pods", 400, "rows takes changes or entries"),
        ("/export.csv?cursor=AAAAAAAAAAE", 400, "cursor is of pages"),
        ("/export.xlsx", 404, "export.csv and export.jsonl"),
        ("/api/v1/export?format=xml", 400, "format takes csv or jsonl"),
        ("/api/v1/export?rows=x", 400, "rows takes changes or entries"),
        ("/api/v1/export?kynd=Pod", 400, "did you mean kind?"),
    ],
)
async def test_what_cannot_be_exported_is_said(tmp_path: Path, address: str, status: int, said: str) -> None:
    await write(tmp_path, make_record())

    answer = await get(tmp_path, address)

    assert answer.status_code == status
    assert said in answer.text


async def test_a_ledger_that_is_not_there_is_said_before_anything_is_sent(tmp_path: Path) -> None:
    assert (await get(tmp_path, "/export.csv")).status_code == 503


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[tuple[Console, str]]:
    app = console_of(tmp_path)
    sock = listen("127.0.0.1", 0, "--console-port")
    server = listener(as_viewer(app, OWNER))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    yield app, f"http://127.0.0.1:{sock.getsockname()[1]}"
    await stop(server, serving)


async def take(base: str, journal: Path) -> None:
    """Take an export; the ledger goes away when it has begun."""
    async with httpx.AsyncClient(base_url=base) as client, client.stream("GET", "/export.jsonl") as answer:
        chunks = answer.aiter_raw()
        await anext(chunks)
        with closing(sqlite3.connect(journal)) as connection:
            connection.execute("ALTER TABLE entries RENAME TO gone")
        async for _ in chunks:
            pass


async def test_a_file_that_could_not_be_read_to_its_end_is_seen_to_be_incomplete(
    tmp_path: Path, served: tuple[Console, str]
) -> None:
    # More than connections hold on their way.
    await write(tmp_path, *(make_record(labels={"note": "x" * 2000}) for _ in range(20 * AT_ONCE)))

    with pytest.raises(httpx.RemoteProtocolError, match="incomplete"):
        await take(served[1], tmp_path / FILE_NAME)


class Endless:
    """A body without an end, which counts what is asked of it and says when it is closed."""

    def __init__(self) -> None:
        self.made = 0
        self.closed = asyncio.Event()

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            while True:
                self.made += 1
                yield b"x" * 65536
        finally:
            self.closed.set()


async def test_nothing_is_made_for_a_client_that_takes_nothing_and_nothing_after_it_left() -> None:
    endless, taken, gone = Endless(), asyncio.Semaphore(3), asyncio.Event()
    stuck = asyncio.Event()

    async def send(_message: Any) -> None:
        if taken.locked():
            stuck.set()
        await taken.acquire()

    async def receive() -> dict[str, str]:
        await gone.wait()
        return {"type": "http.disconnect"}

    sending = asyncio.create_task(Download(endless.chunks(), "text/csv", "x.csv")({}, receive, send))
    await stuck.wait()
    assert endless.made == 3  # the first message is the head

    gone.set()
    await asyncio.sleep(0)
    taken.release()
    await sending

    assert endless.made <= 4
    assert endless.closed.is_set()


async def test_only_a_few_are_made_at_the_same_time(tmp_path: Path, served: tuple[Console, str]) -> None:
    await write(tmp_path, *(make_record(labels={"note": "x" * 4000}) for _ in range(20 * AT_ONCE)))

    async with httpx.AsyncClient(base_url=served[1]) as client:
        begun = [await client.send(client.build_request("GET", "/export.jsonl"), stream=True) for _ in range(MOST)]
        refused = await client.get("/api/v1/export")
        for answer in begun:
            await answer.aclose()

    assert refused.status_code == 503
    assert refused.json() == {"detail": f"{MOST} exports are made already; try again when one has ended"}
