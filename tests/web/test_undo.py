"""The API tells how an entry is undone, or why it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.core.change import Entry
from app.core.identity import sequence_of
from app.store.encoding import entry_row
from app.store.journal import Record
from tests.core.lives import deployment, told
from tests.web.ledgers import client_of, console_of, write

ONE, THREE, FIVE = (deployment(replicas=number) for number in (1, 3, 5))
FIRST, SECOND = told(ONE, THREE), told(THREE, FIVE, number=1, user="bob")
ELSEWHERE = told(THREE, FIVE, number=1, namespace="elsewhere")


async def answer(data_dir: Path, path: str, *entries: Entry) -> tuple[int, Any]:
    await write(data_dir, *(Record(entry_row(sequence_of(entry.id), entry)) for entry in entries))
    async with client_of(console_of(data_dir)) as client:
        response = await client.get(f"/api/v1/entries/{path}")
    return response.status_code, response.json()


async def test_an_entry_has_its_undo(tmp_path: Path) -> None:
    status, said = await answer(tmp_path, f"{FIRST.id}/undo", FIRST, ELSEWHERE)

    assert (status, said["refusal"]) == (200, None)
    assert said["undo"]["action"] == "patch"
    assert said["undo"]["command"].startswith("kubectl patch deployments.v1.apps/web -n shop ")
    assert said["undo"]["changes"] == [{"path": "spec.replicas", "op": "replace", "old": 3, "new": 1}]


async def test_an_object_that_moved_on_is_a_refusal_with_the_entry_that_did_it(tmp_path: Path) -> None:
    status, said = await answer(tmp_path, f"{FIRST.id.upper()}/undo", FIRST, SECOND)

    assert (status, said["undo"]) == (200, None)
    assert said["refusal"] == {
        "reason": "moved",
        "path": "spec.replicas",
        "by": "bob",
        "at": SECOND.at,
        "entry_id": SECOND.id,
        "text": said["refusal"]["text"],
    }


@pytest.mark.parametrize(
    ("path", "status", "detail"),
    [
        (f"{SECOND.id}/undo", 404, "there is no such entry"),
        ("nonsense/undo", 400, "entry_id takes"),
        (f"{FIRST.id}/undo?live=true", 400, "there is no parameter 'live'"),
    ],
)
async def test_what_there_is_no_undo_for_gets_a_message(tmp_path: Path, path: str, status: int, detail: str) -> None:
    got, said = await answer(tmp_path, path, FIRST)

    assert got == status
    assert detail in said["detail"]


def test_the_document_describes_it(tmp_path: Path) -> None:
    document = console_of(tmp_path).openapi()

    schema = document["paths"]["/api/v1/entries/{entry_id}/undo"]["get"]["responses"]["200"]["content"]
    references = [
        each.split('"')[0] for each in msgspec.json.encode(schema).decode().split("#/components/schemas/")[1:]
    ]
    assert set(references) <= document["components"]["schemas"].keys()
