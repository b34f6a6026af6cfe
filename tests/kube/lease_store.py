"""Leases in memory, as an API server keeps them; and an event loop in which waiting takes no time."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from app.kube.errors import ApiError

FOLDER = "/apis/coordination.k8s.io/v1/namespaces/tools/leases"
Document = dict[str, Any]


class _Hurried(selectors.DefaultSelector):
    """Where others would wait, time is only counted."""

    elapsed = 0.0

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("nothing will ever happen: everybody waits for somebody else")
        self.elapsed += max(timeout, 0)
        return super().select(0)


class HurriedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time goes on only when there is nothing left to do, and then at once."""

    def __init__(self) -> None:
        self._hurried = _Hurried()
        super().__init__(self._hurried)

    def time(self) -> float:
        return self._hurried.elapsed


def in_no_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a test in such a loop."""

    @functools.wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        async def whole() -> None:
            await test(*arguments, **named)

        with asyncio.Runner(loop_factory=HurriedLoop) as runner:
            runner.run(whole())

    return run


@dataclass
class LeaseStore:
    """The Leases of namespace `tools`, by name."""

    stored: dict[str, Document] = field(default_factory=dict)
    version: int = 0
    requests: list[str] = field(default_factory=list)

    def spec(self, name: str = "leader") -> Document:
        spec: Document = self.stored[name]["spec"]
        return spec

    def edit(self, name: str, **changes: Any) -> None:
        """Change a Lease as people do: metadata by `annotations`, everything else in `spec`."""
        before = self.stored[name]
        annotations = changes.pop("annotations", before["metadata"].get("annotations"))
        metadata = {**before["metadata"], "annotations": annotations}
        self._store(name, {"metadata": metadata, "spec": {**(before.get("spec") or {}), **changes}})

    def answer(self, method: str, path: str, body: bytes = b"") -> bytes:
        self.requests.append(method)
        name = path.removeprefix(FOLDER).strip("/")
        sent = msgspec.json.decode(body) if body else {}
        answered = {"GET": self._get, "PUT": self._put, "POST": self._post}[method](name, sent)
        return msgspec.json.encode(answered)

    def _get(self, name: str, _: Document) -> Document:
        if name not in self.stored:
            raise ApiError(f"GET {name}: 404 NotFound", status=404, reason="NotFound")
        return self.stored[name]

    def _put(self, name: str, sent: Document) -> Document:
        assert "managedFields" not in sent["metadata"]
        current = self._get(name, sent)["metadata"]["resourceVersion"]
        if sent["metadata"]["resourceVersion"] != current:
            raise ApiError(f"PUT {name}: 409 Conflict", status=409, reason="Conflict")
        return self._store(name, sent)

    def _post(self, _: str, sent: Document) -> Document:
        name = sent["metadata"]["name"]
        if name in self.stored:
            raise ApiError(f"POST {name}: 409 AlreadyExists", status=409, reason="AlreadyExists")
        return self._store(name, sent)

    def _store(self, name: str, sent: Document) -> Document:
        self.version += 1
        metadata = {**sent["metadata"], "resourceVersion": str(self.version), "managedFields": [{}]}
        self.stored[name] = {**sent, "metadata": metadata}
        return self.stored[name]


@dataclass
class Client:
    """One replica's way to the store, which can fail: before the store hears of it, or when it answers."""

    store: LeaseStore
    refusal: ApiError | None = None
    refused: frozenset[str] = frozenset({"GET", "PUT", "POST"})
    hangs: bool = False
    answers_get_lost: bool = False
    page: bytes = b""
    delay: float = 0.0

    async def get(self, path: str, /) -> bytes:
        return await self._call("GET", path)

    async def send(self, method: str, path: str, body: bytes, /) -> bytes:
        return await self._call(method, path, body)

    async def _call(self, method: str, path: str, body: bytes = b"") -> bytes:
        if self.hangs:
            await asyncio.sleep(1_000_000)
        if self.refusal is not None and method in self.refused:
            raise self.refusal
        await asyncio.sleep(self.delay)
        answer = self.store.answer(method, path, body)
        await asyncio.sleep(self.delay)
        if self.answers_get_lost and method != "GET":
            raise ApiError(f"{method} {path}: no answer")
        return self.page or answer
