"""Every route of the console, asked by somebody who may see one namespace: nothing of another is in any answer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import httpx
import pytest
from fastapi.routing import APIRoute

from app.core.change import FieldChange, Resource, User
from app.core.finding import Finding
from app.core.viewer import Viewer
from app.remote import wire
from app.store.database import FILE_NAME
from app.store.journal import Record
from app.store.reading import Position
from app.web.console import Console
from tests.builders import make_record
from tests.web.ledgers import client_of, console_of, write

SHOP: Final = Viewer(name="alice", namespaces=frozenset({"shop"}))
OPEN: Final = {"/livez", "/readyz", "/metrics", "/static/{name}", "/api/v1/openapi.json"}
HIDDEN: Final = "Vault"
"""Part of everything that a hidden entry says."""

ABSENT: Final = "01900000-0000-7000-8000-000000000000"
NOT_ASKED: Final = {"/api/v1/stream": "has no end, and reads what /api/v1/follow does"}


def hidden(namespace: str) -> Record:
    return make_record(
        "sink-of-Vault",
        finding=Finding(playbook="playbook-Vault", title="found-Vault", description="about-Vault"),
        resource=Resource(group="apps", version="v1", kind="KindVault", namespace=namespace, name="name-Vault"),
        user=User(username="user-Vault", groups=("group-Vault",)),
        changes=(FieldChange("data[Vault]", "replace", "old-Vault", "new-Vault"),),
    )


def seen() -> Record:
    return make_record(resource=Resource(group="apps", version="v1", kind="Deployment", namespace="shop", name="web"))


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    await write(tmp_path, hidden("Vault"), hidden(""), seen())
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute("UPDATE deliveries SET state = 'dead'")
        connection.commit()
    return tmp_path


@pytest.fixture
async def app(data: Path) -> Console:
    return console_of(data)


async def test_all_routes_are_found(app: Console) -> None:
    found = {route.path for route in routes(app)}

    assert {"/", "/rows", "/chart", "/export.{format_}", "/report", "/status", "/api/v1/follow"} <= found
    assert found >= set(app.openapi()["paths"])


async def ids(app: Console) -> list[str]:
    """The ids of the hidden entries."""
    async with client_of(app) as client:
        items: list[dict[str, Any]] = (await client.get("/api/v1/entries?kind=KindVault")).json()["items"]
    return [item["id"] for item in items]


def paths(app: Console, entry: str) -> Iterable[str]:
    """Every path that can be read, about a hidden entry and its object wherever it names one."""
    for route in routes(app):
        if "GET" in (route.methods or ()) and route.path not in OPEN | NOT_ASKED.keys():
            for namespace in ("Vault", "-"):
                identity = f"KindVault/{namespace}/name-Vault"
                object_ = {"{kind}/{namespace}/{name}": identity, "{identity:path}": identity}
                path = route.path
                for part, value in {**object_, "{entry_id}": entry, "{format_}": "csv"}.items():
                    path = path.replace(part, value)
                assert "{" not in path, f"{path}: say here what stands for its parameter"
                yield path


def routes(app: Console) -> list[APIRoute]:
    """All routes, of routers within routers, too."""
    return [route for route in flat(app.routes) if isinstance(route, APIRoute)]


def flat(found: Iterable[Any]) -> Iterable[Any]:
    for route in found:
        inner = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
        yield from flat(inner) if inner else [route]


def questions(path: str, entry: str) -> list[str]:
    """A path with the parameters that it takes, all of them about what is hidden."""
    before = wire.written_position(Position(1))
    own = {
        "/api/v1/follow": [f"?after={before}", f"?after={before}&namespace=Vault", f"?after={before}&q=Vault"],
        "/api/v1/words": [f"?field={field}" for field in ("kind", "namespace", "name", "user")],
        "/api/v1/places": ["?kind=KindVault&name=name-Vault"],
        "/api/v1/entries": [f"?id={entry[:13]}", f"?id={entry}"],
        "/rows": ["?after="],
    }
    return [path, *(path + query for query in own.get(path, ()))]


@pytest.mark.parametrize("number", [0, 1])
async def test_no_route_says_anything_of_what_may_not_be_seen(app: Console, number: int) -> None:
    entry = (await ids(app))[number]
    async with client_of(app, SHOP) as client:
        for path in paths(app, entry):
            for question in questions(path, entry):
                answer = await client.get(question, headers={"accept": "text/html"})
                told = asked_out(answer.text, question)
                assert HIDDEN not in told, f"{question}: {told}"
                assert HIDDEN not in str(answer.headers), question
                assert answer.status_code in {200, 400, 403, 404}, f"{question}: {answer.status_code}"


def asked_out(text: str, question: str) -> str:
    """The text without the words of the question itself, which an answer may repeat."""
    for word in ("KindVault", "name-Vault"):
        if word in question:
            text = text.replace(word, "")
    return text.replace("Vault", "") if "/Vault/" in question or "=Vault" in question else text


async def test_what_may_not_be_seen_is_answered_as_what_is_not_there(app: Console) -> None:
    (entry, _) = await ids(app)
    async with client_of(app, SHOP) as client:
        for path in paths(app, entry):
            other = path.replace(entry, ABSENT).replace("KindVault", "KindOther").replace("name-Vault", "name-Other")
            if other == path:
                continue
            about, absent = await client.get(path), await client.get(other)
            assert about.status_code == absent.status_code, path
            told = (
                about.text.replace(entry, ABSENT).replace("KindVault", "KindOther").replace("name-Vault", "name-Other")
            )
            assert told == absent.text, path


async def test_filters_find_nothing_and_count_nothing_of_it(app: Console) -> None:
    (entry, _) = await ids(app)
    filters = [f"{name}={value}" for name, value in (
        ("namespace", "Vault"), ("kind", "KindVault"), ("name", "name-Vault"), ("user", "user-Vault"),
        ("q", "new-Vault"), ("path", "data"), ("uid", "1"), ("group", "apps&kind=KindVault"),
    )]  # fmt: skip
    async with client_of(app, SHOP) as client:
        for each in filters:
            found = (await client.get(f"/api/v1/entries?{each}")).json()["items"]
            assert [item["id"] for item in found if item["resource"]["namespace"] != "shop"] == [], each
            counted = (await client.get(f"/api/v1/histogram?{each}")).json()["buckets"]
            assert sum(bucket["total"] for bucket in counted) == len(found), each
            lines = (await client.get(f"/export.jsonl?{each}")).text.splitlines()
            assert len(lines) == len(found), each
            page = (await client.get(f"/?{each}&chart=1")).text
            assert entry not in page, each


async def test_a_route_that_changes_something_does_nothing_for_who_sees_some(app: Console) -> None:
    may = Viewer(name="alice", namespaces=frozenset({"shop"}), may_requeue=True)
    changing = [
        (route.path, method) for route in routes(app) for method in route.methods or () if method not in {"GET", "HEAD"}
    ]

    async with client_of(app, may) as client:
        answers = [await client.request(method, path, json={"sink": "sink-of-Vault"}) for path, method in changing]

    assert sorted(path for path, _ in changing) == ["/api/v1/deliveries/requeue", "/deliveries/requeue"]
    assert [answer.status_code for answer in answers] == [403, 403]


async def test_a_route_shows_nothing_where_nobody_has_found_out_who_asks(app: Console) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://x") as client:
        for path in [*paths(app, ABSENT), *NOT_ASKED]:
            answer = await client.get(path, params={"after": "", "field": "kind", "kind": "x", "name": "x"})
            assert answer.status_code in {400, 401}, f"{quote(path)}: {answer.status_code}"
            assert HIDDEN not in answer.text.replace("KindVault", "").replace("name-Vault", ""), path
