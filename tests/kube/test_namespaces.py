"""The labels of namespaces follow the API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.kube.namespaces import NAMESPACES, NamespaceView, namespace_watch
from tests.kube.api_server import ApiServer, Exchange, document, failure, serving
from tests.kube.clients import client


def namespace(name: str, version: int = 1, **labels: str) -> dict[str, Any]:
    metadata = {"name": name, "resourceVersion": str(version), **({"labels": labels} if labels else {})}
    return {"kind": "Namespace", "metadata": metadata, "spec": {"finalizers": ["kubernetes"]}}


def raw(name: str, **labels: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(namespace(name, 1, **labels)))


def test_a_new_list_replaces_what_was_known_only_when_it_is_complete() -> None:
    view = NamespaceView()
    view.begin()
    view.listed(raw("shop", team="sales"))
    view.listed(raw("bank"))
    view.end()

    view.begin()
    view.listed(raw("shop", team="it"))

    assert (view.labels("shop"), view.labels("bank"), view.labels("x")) == ({"team": "it"}, {}, None)
    view.end()
    assert view.labels("bank") is None
    assert len(view) == 1


def test_a_namespace_that_is_deleted_is_known_no_longer() -> None:
    view = NamespaceView()
    view.changed("ADDED", raw("shop", team="sales"))
    view.changed("MODIFIED", raw("shop", team="it"))

    assert view.labels("shop") == {"team": "it"}
    view.changed("DELETED", raw("shop", team="it"))
    assert view.labels("shop") is None


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with serving() as running:
        yield running


async def test_the_watch_lists_and_then_follows(server: ApiServer, tmp_path: Path) -> None:
    told = asyncio.Event()

    async def follow(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.event("MODIFIED", namespace("shop", 9, team="it"))
        await exchange.event("ADDED", namespace("bank", 10))
        told.set()
        await asyncio.Event().wait()

    server.answers.append(document({"metadata": {"resourceVersion": "8"}, "items": [namespace("shop", team="sales")]}))
    server.otherwise = follow
    view = NamespaceView()
    async with client(server, tmp_path) as api:
        watch = namespace_watch(api, view)
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(10):
            await watch.synced.wait()
            assert view.labels("shop") == {"team": "sales"}
            await told.wait()
            while view.labels("bank") is None:  # noqa: ASYNC110  a view has no event
                await asyncio.sleep(0)
        assert view.labels("shop") == {"team": "it"}
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    assert {request.path for request in server.requests} == {NAMESPACES}


async def test_what_is_not_allowed_is_said_with_the_rule_that_would_allow_it(server: ApiServer, tmp_path: Path) -> None:
    server.otherwise = failure(403, "Forbidden", "namespaces is forbidden")
    async with client(server, tmp_path) as api:
        watch = namespace_watch(api, NamespaceView())
        task = asyncio.create_task(watch.run())
        async with asyncio.timeout(10):
            while watch.last_error is None:  # noqa: ASYNC110  it has no event
                await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    assert not watch.synced.is_set()
    expected = 'bind to a ClusterRole with apiGroups: [""], resources: ["namespaces"], verbs: ["list", "watch"]'
    assert expected in str(watch.last_error)
