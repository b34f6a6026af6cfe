"""Dead letters can be seen and queued again, from the console's own pages and from nowhere else."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest

from app.store.database import FILE_NAME
from tests.builders import make_record
from tests.web.ledgers import client_of, console_of, write
from tests.web.pages import Document, token


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    await write(tmp_path, make_record("slack", "mail"), make_record("slack"))
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as connection:
        connection.execute(
            "UPDATE deliveries SET state = 'dead', last_error = 'channel_not_found' WHERE sink = 'slack'"
        )
        connection.commit()
    async with client_of(console_of(tmp_path)) as client:
        yield client


async def states(client: httpx.AsyncClient) -> list[str]:
    """The states of the deliveries, oldest first."""
    items = (await client.get("/api/v1/deliveries")).json()["items"]
    return [f"{item['sink']} {item['state']}" for item in reversed(items)]


BEFORE = ["slack dead", "mail pending", "slack dead"]


async def test_each_state_has_its_list_and_its_count(client: httpx.AsyncClient) -> None:
    page = Document((await client.get("/deliveries?state=dead")).text)

    assert "all 3pending 1delivered 0given up 2withheld 0" in page.text
    assert page.text.count("channel_not_found") == 2
    assert "Deliveries 2 given up" in page.text


async def test_a_dead_letter_is_queued_again(client: httpx.AsyncClient) -> None:
    form = {"token": token(await client.get("/deliveries")), "delivery": "1"}

    answer = await client.post("/deliveries/requeue", data=form)

    assert (answer.status_code, answer.headers["location"]) == (303, "../deliveries?queued=1")
    assert await states(client) == ["slack pending", "mail pending", "slack dead"]


async def test_all_dead_letters_of_a_sink_are_queued_again(client: httpx.AsyncClient) -> None:
    form = {"token": token(await client.get("/deliveries?state=dead&sink=slack")), "sink": "slack"}

    await client.post("/deliveries/requeue", data=form)

    assert await states(client) == ["slack pending", "mail pending", "slack pending"]


async def test_who_queued_from_the_page_of_an_entry_goes_back_there(client: httpx.AsyncClient) -> None:
    (entry, *_) = [item["id"] for item in (await client.get("/api/v1/entries")).json()["items"]]
    form = {"token": token(await client.get(f"/entries/{entry}")), "delivery": "3", "entry": entry}

    answer = await client.post("/deliveries/requeue", data=form)

    assert answer.headers["location"] == f"../entries/{entry}?queued=1#deliveries"


@pytest.mark.parametrize(
    "entry", ["https://evil.example", "//evil.example", "../../x", "0191\n0000-0000-7000-8000-000000000001", "x" * 36]
)
async def test_no_form_leads_anywhere_else(client: httpx.AsyncClient, entry: str) -> None:
    form = {"token": token(await client.get("/deliveries")), "delivery": "1", "entry": entry}

    answer = await client.post("/deliveries/requeue", data=form)

    assert answer.headers["location"] == "../deliveries?queued=1"


@pytest.mark.parametrize("shown", ["", "x", "é"])
async def test_without_the_token_of_a_page_nothing_is_queued(client: httpx.AsyncClient, shown: str) -> None:
    answer = await client.post("/deliveries/requeue", data={"token": shown, "delivery": "1"})

    assert answer.status_code == 403
    assert await states(client) == BEFORE


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
async def test_another_site_queues_nothing_even_with_the_token(client: httpx.AsyncClient, site: str) -> None:
    form = {"token": token(await client.get("/deliveries")), "delivery": "1"}

    answer = await client.post("/deliveries/requeue", data=form, headers={"Sec-Fetch-Site": site})

    assert answer.status_code == 403
    assert await states(client) == BEFORE


async def test_the_token_of_another_process_is_none(client: httpx.AsyncClient, tmp_path: Path) -> None:
    async with client_of(console_of(tmp_path)) as other:
        strange = token(await other.get("/deliveries"))

    answer = await client.post("/deliveries/requeue", data={"token": strange, "delivery": "1"})

    assert answer.status_code == 403


@pytest.mark.parametrize("form", [{}, {"delivery": "x"}, {"delivery": "-1", "sink": "slack"}, {"delivery": "9" * 30}])
async def test_a_form_that_names_nothing_queues_nothing(client: httpx.AsyncClient, form: dict[str, str]) -> None:
    answer = await client.post("/deliveries/requeue", data={"token": token(await client.get("/deliveries")), **form})

    assert answer.status_code == 400
    assert await states(client) == BEFORE


async def test_a_form_too_large_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post("/deliveries/requeue", data={"token": "x" * 20_000})

    assert answer.status_code == 400


async def test_what_was_not_dead_any_more_is_said(client: httpx.AsyncClient) -> None:
    page = Document((await client.get("/deliveries?queued=0")).text)

    assert "Nothing was queued" in page.text


async def test_a_state_that_there_is_not_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/deliveries?state=lost")

    assert answer.status_code == 400
    assert "state takes pending, delivered, dead or withheld" in answer.text
