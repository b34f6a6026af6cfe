"""An object that is nested hundreds of levels deep is told of by an answer that says so, and not by an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.core.change import Resource
from tests.builders import make_record
from tests.web.ledgers import client_of, console_of
from tests.web.pages import Document, ledger

WEB = Resource(group="apps", version="v1", kind="Deployment", namespace="shop", name="web", uid="u1")
API = "/api/v1/objects/Deployment/shop/web"


def nested(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(levels):
        made = {"a": made}
    return made


@pytest.fixture
async def entries(tmp_path: Path) -> list[str]:
    record = make_record(operation="CREATE", resource=WEB, object={"metadata": {}, "spec": nested(490)})
    return await ledger(tmp_path, record)


async def test_a_page_says_why_it_cannot_be_shown_and_where_the_entry_is(tmp_path: Path, entries: list[str]) -> None:
    async with client_of(console_of(tmp_path)) as client:
        page = await client.get(f"/entries/{entries[0]}")
        lines = (await client.get("/export.jsonl")).text.splitlines()

    assert page.status_code == 501
    assert "This cannot be shown" in Document(page.text).text
    assert "export.jsonl" in page.text
    assert [entries[0] in line for line in lines] == [True]


async def test_no_page_and_no_path_of_the_api_ends_in_an_error(tmp_path: Path, entries: list[str]) -> None:
    paths = ["/", "/report", "/objects/Deployment/shop/web", "/objects/Deployment/shop/web?from=1h"]
    paths += [f"{API}/{name}" for name in ("history", "blame", "diff", "state")]
    paths += [f"/api/v1/entries/{entries[0]}", f"/api/v1/entries/{entries[0]}/undo"]

    async with client_of(console_of(tmp_path)) as client:
        answers = {path: (await client.get(path)).status_code for path in paths}

    assert set(answers.values()) <= {200, 501}, answers


async def test_the_api_says_so_in_json(tmp_path: Path, entries: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def too_deep(*_: object) -> None:
        raise RecursionError

    monkeypatch.setattr("app.web.objects.blame", too_deep)
    async with client_of(console_of(tmp_path)) as client:
        answer = await client.get(f"{API}/blame")

    assert answer.status_code == 501
    assert "/api/v1/entries has the entries" in answer.json()["detail"]
