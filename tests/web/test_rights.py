"""Whoever sees some namespaces sees these alone, and whoever may not change anything finds no button for it."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Final

import httpx
import pytest

from app.core.change import Resource
from app.core.viewer import Viewer
from app.store.database import FILE_NAME
from app.web.access import guarded
from tests.builders import make_record
from tests.web.doors import door
from tests.web.ledgers import client_of, console_of, write
from tests.web.pages import Document, token

SHOP: Final = Viewer(name="alice", namespaces=frozenset({"shop"}))
READER: Final = Viewer(name="bob")
TOKEN: Final = "T0ken-of_the-console"


def of(namespace: str) -> Resource:
    return Resource(group="apps", version="v1", kind="Deployment", namespace=namespace, name="web")


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    records = [make_record("slack", resource=of(namespace)) for namespace in ("shop", "kube-system", "")]
    await write(tmp_path, *records)
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("UPDATE deliveries SET state = 'dead'")
        connection.commit()
    return tmp_path


@pytest.fixture
async def shop(data: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(console_of(data), SHOP) as client:
        yield client


async def namespaces(client: httpx.AsyncClient, **headers: str) -> list[str]:
    items = (await client.get("/api/v1/entries", headers=headers)).json()["items"]
    return sorted(item["resource"]["namespace"] for item in items)


async def test_a_timeline_has_the_changes_of_the_viewers_namespaces(shop: httpx.AsyncClient) -> None:
    page = Document((await shop.get("/")).text)

    assert len(page.ids()) == 1
    assert "kube-system" not in page.text


async def test_nobody_has_found_out_who_asks_and_nothing_is_shown(data: Path) -> None:
    transport = httpx.ASGITransport(console_of(data))
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        answers = [await client.get(path) for path in ("/", "/api/v1/entries", "/api/v1/stream", "/deliveries")]
        probes = await client.get("/livez")

    assert [answer.status_code for answer in answers] == [401] * 4
    assert probes.status_code == 200


@pytest.mark.parametrize("path", ["/deliveries", "/status"])
async def test_what_is_of_no_namespace_is_for_those_who_see_all(shop: httpx.AsyncClient, path: str) -> None:
    page = await shop.get(path)

    assert page.status_code == 403
    assert "You may not see this" in page.text
    assert "the right to get entries.kubewitness.io in the whole cluster" in Document(page.text).text


async def test_pages_do_not_lead_to_what_may_not_be_seen(shop: httpx.AsyncClient) -> None:
    addresses = Document((await shop.get("/")).text).addresses()

    assert "./actors" in addresses
    assert not {"./deliveries", "./status"} & set(addresses)


@pytest.mark.parametrize("viewer", [SHOP, READER])
async def test_who_may_not_queue_again_finds_no_button(data: Path, viewer: Viewer) -> None:
    async with client_of(console_of(data), viewer) as client:
        (entry,) = [
            item["id"] for item in (await client.get("/api/v1/entries", params={"namespace": "shop"})).json()["items"]
        ]
        pages = [await client.get(path) for path in (f"/entries/{entry}", "/deliveries?state=dead&sink=slack")]

    assert "given up" in pages[0].text
    assert "Requeue" not in pages[0].text + pages[1].text


@pytest.mark.parametrize("viewer", [READER, SHOP, Viewer(namespaces=frozenset({"shop"}), may_requeue=True)])
async def test_who_may_not_queue_again_cannot_do_so_with_the_form_of_somebody_who_may(
    data: Path, viewer: Viewer
) -> None:
    async with client_of(console_of(data)) as owner:
        form = {"token": token(await owner.get("/deliveries")), "delivery": "1"}
    async with client_of(console_of(data), viewer) as client:
        answer = await client.post("/deliveries/requeue", data=form)

    assert answer.status_code == 403
    assert "--console-requeue" in answer.text
    with closing(sqlite3.connect(data / FILE_NAME)) as connection:
        assert connection.execute("SELECT DISTINCT state FROM deliveries").fetchall() == [("dead",)]


def at_the_door(data: Path, *, may_requeue: bool = False, peer: str = "10.0.0.1") -> httpx.AsyncClient:
    app = guarded(console_of(data), door(lambda: TOKEN, may_requeue=may_requeue))
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app, client=(peer, 1)),
        base_url="http://localhost:8080",
        headers={"X-Kubewitness-Token": TOKEN} if peer != "127.0.0.1" else {},
    )


@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1"])
@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("shop", ["shop"]),
        ("shop,kube-system", ["kube-system", "shop"]),
        ("shop,", ["", "shop"]),
        (",", [""]),
        ("sh%6Fp", ["shop"]),
        ("nothing", []),
        ("", []),
        ("*", []),
    ],
)
async def test_a_request_may_ask_for_less_than_its_sender_may_see(
    data: Path, peer: str, header: str, expected: list[str]
) -> None:
    async with at_the_door(data, peer=peer) as client:
        assert await namespaces(client) == ["", "kube-system", "shop"]
        assert await namespaces(client, **{"X-Kubewitness-Namespaces": header}) == expected


async def test_a_request_cannot_ask_for_more() -> None:
    assert SHOP.narrowed(frozenset({"shop", "kube-system"})) == SHOP
    assert SHOP.narrowed(frozenset({"kube-system"})).namespaces == frozenset()
    assert not Viewer(may_requeue=True).narrowed(frozenset({"shop"})).may_requeue


@pytest.mark.parametrize(("may_requeue", "status"), [(True, 303), (False, 403)])
@pytest.mark.parametrize("peer", ["127.0.0.1", "10.0.0.1"])
async def test_the_console_only_shows_unless_it_was_started_otherwise(
    data: Path, may_requeue: bool, status: int, peer: str
) -> None:
    async with at_the_door(data, may_requeue=may_requeue, peer=peer) as client:
        page = await client.get("/deliveries")
        shown = token(page) if may_requeue else "x"
        answer = await client.post("/deliveries/requeue", data={"token": shown, "delivery": "1"})

    assert ("Requeue" in page.text) == may_requeue
    assert answer.status_code == status


async def test_pages_say_who_is_signed_in_only_where_somebody_is(data: Path) -> None:
    async with at_the_door(data, peer="127.0.0.1") as client:
        near = await client.get("/")
    async with at_the_door(data) as client:
        by_header = await client.get("/")

    assert "Sign out" not in near.text + by_header.text


async def test_answers_of_the_api_are_kept_by_nobody(data: Path) -> None:
    async with at_the_door(data) as client:
        assert (await client.get("/api/v1/entries")).headers["cache-control"] == "no-store"
