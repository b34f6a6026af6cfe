"""The labels of namespaces within a server: followed where the configuration asks for them, and never in the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.bootstrap.auditor import Auditor
from app.bootstrap.namespaces import Namespaces
from app.core.review import Review
from app.settings import Settings
from app.tls.files import ensure_dev_certificates
from tests.builders import about, make_review, sent
from tests.kube.api_server import ApiServer, Exchange, document, failure, serving
from tests.kube.clients import write_kubeconfig

PLAIN = """
customPlaybooks:
- triggers: [on_deployment_update: {}]
  actions: [create_finding: {title: t, aggregation_key: k}]
sinksConfig:
- file_sink: {name: sales, file_name: FOLDER/sales.jsonl}
"""
ASKING = PLAIN.replace("sales.jsonl}", "sales.jsonl, scope: {include: [{namespace_labels: team=sales}]}}")


async def answer(exchange: Exchange) -> None:
    """Answer lists with the namespace `shop`, and let watches wait."""
    if "watch" in exchange.request.parameters:
        await exchange.begin()
        await asyncio.Event().wait()
    labels = {"team": "sales"}
    items = [{"metadata": {"name": "shop", "resourceVersion": "1", "labels": labels}}]
    await document({"metadata": {"resourceVersion": "7"}, "items": items})(exchange)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serving() as running:
        running.otherwise = answer
        yield running


@asynccontextmanager
async def auditor(folder: Path, server: ApiServer, config: str) -> AsyncIterator[Auditor]:
    ensure_dev_certificates(folder / "certs", now=datetime.now(UTC))
    file = folder / "config.yaml"
    file.write_text(config.replace("FOLDER", str(folder)))
    settings = Settings(
        config=file,
        data_dir=folder / "data",
        tls_dir=folder / "certs",
        admission_host="127.0.0.1",
        admission_port=0,
        console_port=0,
        flush_seconds=1,
        kubeconfig=write_kubeconfig(folder / "kubeconfig", server.url),
    )
    running = Auditor(settings)
    await running.start()
    try:
        yield running
    finally:
        assert await running.stop(0) == 0


async def check_of(running: Auditor) -> dict[str, Any]:
    host, port = running.console_address
    async with httpx.AsyncClient() as http:
        answer = await http.get(f"http://{host}:{port}/readyz")
    found: dict[str, Any] = answer.json()["checks"]["namespaces"]
    return found


async def until(satisfied: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not satisfied():  # noqa: ASYNC110  nothing here has an event
            await asyncio.sleep(0.01)


def told(folder: Path) -> list[str]:
    file = folder / "sales.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return [json.loads(line)["entry"]["resource"]["namespace"] for line in lines]


async def test_a_server_that_nobody_asks_for_labels_calls_no_api_server(server: ApiServer, tmp_path: Path) -> None:
    async with auditor(tmp_path, server, PLAIN) as running:
        assert await check_of(running) == {"state": "ok"}

    assert server.requests == []


async def test_sinks_are_chosen_by_the_labels_of_the_namespace(server: ApiServer, tmp_path: Path) -> None:
    async with auditor(tmp_path, server, ASKING) as running:
        await until(lambda: running.namespaces.labels("shop") is not None)

        await sent(running.recorder, make_review(uid="1", namespace="bank"))
        await sent(running.recorder, make_review(uid="2", namespace="shop"))

        assert await check_of(running) == {"state": "ok"}
        await until(lambda: told(tmp_path) == ["shop"])


async def test_a_server_listens_when_it_knows_the_labels(server: ApiServer, tmp_path: Path) -> None:
    async with auditor(tmp_path, server, ASKING) as running:
        await sent(running.recorder, make_review(namespace="shop"))

        await until(lambda: told(tmp_path) == ["shop"])


def new_namespace(uid: str, name: str, labels: dict[str, str]) -> Review:
    document = {"metadata": {"name": name, "labels": labels}}
    fields = about("Namespace", "namespaces", name=name, namespace=name, operation="CREATE")
    return make_review(uid=uid, object=document, oldObject=None, **fields)


async def test_what_is_created_together_with_its_namespace_is_told(server: ApiServer, tmp_path: Path) -> None:
    async with auditor(tmp_path, server, ASKING) as running:
        await sent(running.recorder, new_namespace("1", "new", {"team": "sales"}))
        await sent(running.recorder, make_review(uid="2", namespace="new"))

        await until(lambda: told(tmp_path) == ["new"])


async def test_nobody_gives_a_namespace_other_labels_by_trying_to_create_it(server: ApiServer, tmp_path: Path) -> None:
    async with auditor(tmp_path, server, ASKING) as running:
        await sent(running.recorder, new_namespace("1", "shop", {"team": "none"}))

        assert running.namespaces.labels("shop") == {"team": "sales"}


async def test_a_changed_configuration_begins_and_ends_it(server: ApiServer, tmp_path: Path) -> None:
    async with auditor(tmp_path, server, PLAIN) as running:
        file = tmp_path / "config.yaml"
        plain = file.read_text()
        file.write_text(ASKING.replace("FOLDER", str(tmp_path)))
        await running.backbone.config.refresh()
        await until(lambda: running.namespaces.labels("shop") is not None)

        file.write_text(plain)
        await running.backbone.config.refresh()

        assert running.namespaces.labels("shop") is None
        assert await check_of(running) == {"state": "ok"}


async def test_without_the_right_to_list_them_a_server_serves_and_says_so(server: ApiServer, tmp_path: Path) -> None:
    server.otherwise = failure(403, "Forbidden", "namespaces is forbidden")
    async with auditor(tmp_path, server, ASKING) as running:
        await until(lambda: "ClusterRole" in running.namespaces.check().message)

        answer = await sent(running.recorder, make_review(namespace="shop"))
        check = await check_of(running)

        assert answer.result == "recorded"
        assert check["state"] == "degraded"
        assert 'verbs: ["list", "watch"]' in check["message"]
        assert "scopes that ask for namespace_labels do not match meanwhile" in check["message"]
    assert told(tmp_path) == []


async def test_without_credentials_it_says_what_is_missing(tmp_path: Path) -> None:
    namespaces = Namespaces(tmp_path / "nowhere")
    namespaces.follow(wanted=True)

    await until(lambda: "nowhere" in namespaces.check().message)

    assert namespaces.check().state == "degraded"
    assert namespaces.labels("shop") is None
    await namespaces.close()
    assert namespaces.check().state == "ok"
