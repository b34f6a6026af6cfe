"""Whatever the console answers, no browser keeps it, frames it, or takes it for something else."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp

from app.remote.headers import NAMESPACES, NARROWED
from app.web.access import guarded
from tests.web.doors import door
from tests.web.ledgers import client_of, console_of

TOKEN = "T0ken-of_the-console"
KNOWN = {"Authorization": f"Bearer {TOKEN}"}


async def ask(path: str, headers: dict[str, str], app: ASGIApp | None = None) -> httpx.Response:
    shown = guarded(app or PlainTextResponse("shown"), door(lambda: TOKEN))
    transport = httpx.ASGITransport(shown, client=("10.244.1.7", 4321))
    async with httpx.AsyncClient(transport=transport, base_url="http://kubewitness") as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize("path", ["/", "/livez", "/api/v1/entries", "/login", "/static/nothing.js", "/static/..%2f"])
@pytest.mark.parametrize("headers", [{}, KNOWN, {"Accept": "text/html"}], ids=["stranger", "known", "browser"])
async def test_no_answer_is_kept_framed_or_guessed_at(path: str, headers: dict[str, str]) -> None:
    answer = await ask(path, headers)

    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_what_an_answer_says_itself_stays() -> None:
    own = Response(headers={"Cache-Control": "private", "Content-Security-Policy": "default-src 'self'"})

    answer = await ask("/", KNOWN, own)

    assert answer.headers.get_list("cache-control") == ["private"]
    assert answer.headers.get_list("content-security-policy") == ["default-src 'self'"]


async def test_an_answer_tells_that_it_keeps_to_the_namespaces_of_the_request() -> None:
    narrowed, whole = await ask("/", {**KNOWN, NAMESPACES: "shop"}), await ask("/", KNOWN)

    assert narrowed.headers[NARROWED] == "true"
    assert NARROWED not in whole.headers


async def test_no_answer_leads_to_the_host_that_a_request_names(tmp_path: Path) -> None:
    async with client_of(console_of(tmp_path)) as client:
        answers = [
            await client.get(path, headers={"Host": "evil.example"}) for path in ("/status/", "/api/v1/entries/")
        ]

    assert [(answer.status_code, "location" in answer.headers) for answer in answers] == [(404, False)] * 2
