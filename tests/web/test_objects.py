"""The API tells of one object: its story, its state at a moment, what changed in between, and who set each field."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
import schemathesis

from app.core.change import Entry
from app.core.identity import sequence_of
from app.store.encoding import entry_row
from app.store.journal import Record
from tests.builders import about
from tests.core.lives import between, deployment, life_of, told
from tests.store.kept import keep_entries
from tests.web.doors import as_viewer
from tests.web.ledgers import client_of, console_of, write

WEB = "/api/v1/objects/deployment/shop/web"
ONE, TWO, THREE = (deployment(replicas=number) for number in (1, 2, 3))
NODE = told(
    {"spec": {}}, {"spec": {"unschedulable": True}}, number=9, name="n1", namespace="", **about("Node", "nodes")
)
OTHERS = [
    NODE,
    told(ONE, THREE, number=3, namespace="elsewhere"),
    told(ONE, THREE, number=4, **about("Deployment", "deployments", "example.org")),
]


def row(entry: Entry) -> Record:
    return Record(entry_row(sequence_of(entry.id), entry))


@pytest.fixture
def entries() -> list[Entry]:
    return life_of([None, ONE, TWO])


@pytest.fixture
async def client(tmp_path: Path, entries: list[Entry]) -> AsyncIterator[httpx.AsyncClient]:
    await write(tmp_path, *map(row, [*entries, *OTHERS]))
    async with client_of(console_of(tmp_path)) as client:
        yield client


async def answer(client: httpx.AsyncClient, path: str, **parameters: Any) -> Any:
    response = await client.get(path, params=parameters)
    assert response.status_code == 200, response.text
    return response.json()


async def test_the_history_is_a_story_of_lives(client: httpx.AsyncClient, entries: list[Entry]) -> None:
    found = await answer(client, f"{WEB}/history", group="apps")

    [life] = found["lives"]
    assert [(each["event"], each["entry"]["id"]) for each in life["chapters"]] == [
        ("created", entries[0].id),
        ("changed", entries[1].id),
    ]
    assert (life["uid"], life["created"]["id"], life["deleted"]) == ("u-1", entries[0].id, None)


@pytest.mark.parametrize(
    ("parameters", "numbers"),
    [({"limit": 1}, [1]), ({"since": between(0).isoformat()}, [1]), ({"until": between(0).isoformat()}, [0])],
)
async def test_of_the_history_a_part_can_be_read(
    client: httpx.AsyncClient, entries: list[Entry], parameters: dict[str, Any], numbers: list[int]
) -> None:
    found = await answer(client, f"{WEB}/history", group="apps", **parameters)

    shown = [each["entry"]["id"] for life in found["lives"] for each in life["chapters"]]
    assert shown == [entries[number].id for number in numbers]


async def test_the_diff_tells_net_changes(client: httpx.AsyncClient) -> None:
    moments = {"since": between(0).isoformat(), "until": between(1).isoformat()}

    assert await answer(client, f"{WEB}/diff", group="apps", **moments) == {
        "before": "there",
        "after": "there",
        "changes": [{"path": "spec.replicas", "op": "replace", "old": 1, "new": 2}],
    }


async def test_the_state_is_the_object_at_a_moment(client: httpx.AsyncClient) -> None:
    then = await answer(client, f"{WEB}/state", group="apps", at=between(0).isoformat())
    before = await answer(client, f"{WEB}/state", group="apps", at=between(-2).isoformat())

    assert (then["presence"], then["object"]["spec"]) == ("there", {"replicas": 1})
    assert before == {"presence": "absent", "object": None}


async def test_blame_tells_who_set_each_field(client: httpx.AsyncClient, entries: list[Entry]) -> None:
    found = {each["path"]: each for each in (await answer(client, f"{WEB}/blame", group="apps"))["items"]}

    assert found["spec.replicas"] == {
        "path": "spec.replicas",
        "value": 2,
        "old": 1,
        "entry_id": entries[1].id,
        "at": entries[1].at,
        "user": entries[1].user.username,
        "actor": "human",
        "field_manager": "kubectl-edit",
        "operation": "UPDATE",
        "origin": "entry",
    }
    assert found["kind"]["entry_id"] == entries[0].id


async def test_a_dash_stands_for_no_namespace(client: httpx.AsyncClient) -> None:
    [life] = (await answer(client, "/api/v1/objects/nodes/-/n1/history"))["lives"]

    assert [each["entry"]["id"] for each in life["chapters"]] == [NODE.id]


@pytest.mark.parametrize("what", ["history", "blame", "diff", "state"])
async def test_an_object_without_entries_is_not_found(client: httpx.AsyncClient, what: str) -> None:
    response = await client.get(f"/api/v1/objects/Deployment/shop/other/{what}")

    assert response.status_code == 404
    assert "no entry of such an object" in response.json()["detail"]


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("diff", {"since": "soon"}, "since takes how long ago"),
        ("state", {"at": "soon"}, "at takes how long ago"),
        ("history", {"limit": "0"}, "limit takes a whole number from 1 to 5000"),
        ("blame", {"live": "1"}, "there is no parameter 'live'"),
    ],
)
async def test_what_cannot_be_read_is_refused(
    client: httpx.AsyncClient, path: str, parameters: dict[str, str], message: str
) -> None:
    response = await client.get(f"{WEB}/{path}", params=parameters)

    assert response.status_code == 400
    assert message in response.json()["detail"]


async def test_a_hostile_name_is_only_a_name(tmp_path: Path) -> None:
    entry = msgspec.structs.replace(NODE, resource=msgspec.structs.replace(NODE.resource, name="a' OR 1=1 --"))
    await write(tmp_path, row(entry), *map(row, OTHERS[1:]))

    async with client_of(console_of(tmp_path)) as client:
        [life] = (await answer(client, "/api/v1/objects/Node/-/a' OR 1=1 --/history"))["lives"]

    assert len(life["chapters"]) == 1


@pytest.mark.parametrize("what", ["history", "blame", "diff", "state"])
def test_an_answer_is_what_the_document_says(tmp_path: Path, entries: list[Entry], what: str) -> None:
    keep_entries(tmp_path, entries)
    document = schemathesis.openapi.from_asgi("/api/v1/openapi.json", as_viewer(console_of(tmp_path)))
    place = {"kind": "Deployment", "namespace": "shop", "name": "web"}

    case = document[f"/api/v1/objects/{{kind}}/{{namespace}}/{{name}}/{what}"]["get"].Case(path_parameters=place)

    assert case.call_and_validate().status_code == 200
