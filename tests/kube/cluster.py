"""A small API server with a memory: lists of one version, watches from any, compaction; misbehaving at random."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from typing import Any

from tests.kube.api_server import Exchange, document, failure, lost, status
from tests.kube.views import item

EXPIRED = failure(410, "Expired")
BUSY = failure(429, "TooManyRequests", retry_after="1")
BROKEN = failure(500, "InternalError")


class HangUpError(Exception):
    """The server loses interest in a watch."""


@dataclass
class Cluster:
    """Objects by name, and every version they ever had. `patience` is the chance that one step goes as it should."""

    chance: random.Random
    patience: float = 0.7
    version: int = 100
    compacted: int = 0
    history: list[tuple[int, str, str]] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def objects(self, at: int | None = None) -> dict[str, int]:
        """Return the version of each object that existed at a version (default: now)."""
        found: dict[str, int] = {}
        for version, event, name in self.history:
            if at is not None and version > at:
                break
            found[name] = version
            if event == "DELETED":
                del found[name]
        return found

    async def change(self) -> None:
        """Do something to some object."""
        name = f"job-{self.chance.randrange(12):02}"
        known = name in self.objects()
        event = "ADDED" if not known else self.chance.choice(["MODIFIED", "DELETED"])
        self.version += self.chance.randint(1, 3)
        self.history.append((self.version, event, name))
        if self.chance.random() < 0.1:
            self.compacted = self.version - self.chance.randint(0, 3)
        async with self.changed:
            self.changed.notify_all()

    async def calm_down(self) -> None:
        """Behave from now on."""
        self.patience = 1.0
        async with self.changed:
            self.changed.notify_all()

    async def answer(self, exchange: Exchange) -> None:
        if self._trips():
            await self.chance.choice([lost, EXPIRED, BUSY, BROKEN])(exchange)
        elif "watch" in exchange.request.parameters:
            await self._watch(exchange, int(exchange.request.parameters["resourceVersion"]))
        else:
            await self._list(exchange)

    def _trips(self) -> bool:
        return self.chance.random() > self.patience

    async def _list(self, exchange: Exchange) -> None:
        parameters = exchange.request.parameters
        at, _, after = parameters.get("continue", f"{self.version}:").partition(":")
        if int(at) < self.compacted:
            proceed = f"{self.version}:{after}" if self.chance.random() < 0.7 else ""
            await failure(410, "Expired", proceed=proceed)(exchange)
            return
        objects = self.objects(int(at))
        names = sorted(name for name in objects if name > after)
        shown = names[: int(parameters["limit"])]
        metadata = {"resourceVersion": at, "continue": f"{at}:{shown[-1]}" if len(shown) < len(names) else ""}
        items = [item(name, objects[name]) for name in shown]
        if self._trips():
            # Changes may come while a list is on its way.
            await self.change()
        await document({"metadata": metadata, "items": items})(exchange)

    async def _watch(self, exchange: Exchange, seen: int) -> None:
        if seen < self.compacted:
            await failure(410, "Gone")(exchange)
            return
        await exchange.begin()
        try:
            while True:
                seen = await self._send_news(exchange, seen)
                async with self.changed:
                    await self.changed.wait_for(lambda seen=seen: self.version > seen or self.patience < 1)  # type: ignore[misc]
        except HangUpError:
            return

    async def _send_news(self, exchange: Exchange, seen: int) -> int:
        for version, event, name in [change for change in self.history if change[0] > seen]:
            if self._trips():
                await self._misbehave(exchange, seen)
            await exchange.event(event, item(name, version))
            seen = version
        if self._trips():
            await self._misbehave(exchange, seen)
        return seen

    async def _misbehave(self, exchange: Exchange, seen: int) -> None:
        how = self.chance.choice(["bookmark", "garbage", "end", "torn", "lost", "expired", "error"])
        match how:
            case "bookmark":
                bookmark: dict[str, Any] = {"metadata": {"resourceVersion": str(seen)}}
                await exchange.event("BOOKMARK", bookmark)
                return
            case "garbage":
                await exchange.send(b"garbage\n")
                return
            case "torn":
                await exchange.send(b'{"type":"DELETED","object":{"metadata":{"name":"job-01"')
                await exchange.end()
            case "end":
                await exchange.end()
            case "lost":
                exchange.writer.close()
            case "expired":
                await exchange.event("ERROR", status(410, "Expired"))
                await exchange.end()
            case "error":
                await exchange.event("ERROR", status(500, "InternalError"))
                await exchange.end()
        raise HangUpError
