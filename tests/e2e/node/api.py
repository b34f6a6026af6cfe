"""The few things that a node asks of the API server, again and again while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeAlias

import httpx
import msgspec

from app.cli.controlplane import ControlPlane
from tests.e2e.servers import Document

RETRY_SECONDS: Final = 0.2
MERGE: Final = "application/merge-patch+json"

Notify: TypeAlias = Callable[[str, Document], None]
"""Is told `ADDED`, `MODIFIED` or `DELETED`, and the object."""


class Api:
    """The API server, for a node; requests are repeated until they are answered."""

    def __init__(self, cluster: ControlPlane) -> None:
        self._client = httpx.AsyncClient(base_url=cluster.url, verify=cluster.tls(), trust_env=False, timeout=10)

    async def close(self) -> None:
        """Give back the connections."""
        await self._client.aclose()

    async def get(self, path: str) -> Document | None:
        """Return an object; None where there is none."""
        return await self._request("GET", path, missing=(404,))

    async def post(self, path: str, body: Document) -> Document | None:
        """Create an object; None where it is there already, or no longer wanted."""
        return await self._request("POST", path, body, missing=(404, 409))

    async def patch(self, path: str, body: Document) -> Document | None:
        """Merge into an object; None where it is gone, or has become another one."""
        return await self._request("PATCH", path, body, missing=(404, 409), kind=MERGE)

    async def delete(self, path: str, **options: Any) -> None:
        """Delete an object at once; nothing happens where it is gone, or has become another one."""
        body = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, **options}
        await self._request("DELETE", path, body, missing=(404, 409))

    async def follow(self, path: str, notify: Notify) -> None:
        """Tell of every object of a collection, and of all that happens to them, until cancelled."""
        known: dict[str, Document] = {}
        while True:
            with suppress(httpx.TransportError):
                version = await self._list(path, known, notify)
                await self._watch(path, version, known, notify)
            await asyncio.sleep(RETRY_SECONDS)

    async def _list(self, path: str, known: dict[str, Document], notify: Notify) -> str:
        listed = await self.get(path) or {}
        found = {item["metadata"]["uid"]: item for item in listed["items"]}
        for uid in known.keys() - found.keys():
            notify("DELETED", known.pop(uid))
        for uid, item in found.items():
            notify("MODIFIED" if uid in known else "ADDED", item)
        known.update(found)
        return str(listed["metadata"]["resourceVersion"])

    async def _watch(self, path: str, version: str, known: dict[str, Document], notify: Notify) -> None:
        parameters = {"watch": "true", "resourceVersion": version, "allowWatchBookmarks": "true"}
        timeout = httpx.Timeout(10, read=None)
        async with self._client.stream("GET", path, params=parameters, timeout=timeout) as answer:
            async for line in answer.aiter_lines():
                event = msgspec.json.decode(line)
                if event["type"] == "ERROR" or not answer.is_success:  # such as a version that is too old
                    return
                if event["type"] != "BOOKMARK":
                    _keep(known, event)
                    notify(event["type"], event["object"])

    async def _request(
        self, method: str, path: str, body: Document | None = None, *, missing: tuple[int, ...], kind: str = ""
    ) -> Document | None:
        headers = {"Content-Type": kind or "application/json"}
        content = None if body is None else msgspec.json.encode(body)
        while True:
            with suppress(httpx.TransportError):
                answer = await self._client.request(method, path, content=content, headers=headers)
                if answer.status_code in missing:
                    return None
                if not (answer.is_server_error or answer.status_code == HTTPStatus.TOO_MANY_REQUESTS):
                    document: Document = answer.raise_for_status().json()
                    return document
            await asyncio.sleep(RETRY_SECONDS)


def _keep(known: dict[str, Document], event: Document) -> None:
    item = event["object"]
    if event["type"] == "DELETED":
        known.pop(item["metadata"]["uid"], None)
    else:
        known[item["metadata"]["uid"]] = item
