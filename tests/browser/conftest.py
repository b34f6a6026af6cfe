"""A console with a ledger that has something of everything, and a browser to look at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import pytest

from app.store.journal import Journal
from app.telemetry.metrics import Metrics
from app.web.console import console
from app.web.server import listen, listener, stop
from tests.browser.chromium import Chromium, Script
from tests.browser.installation import FACTS
from tests.browser.ledgers import fill
from tests.store.observed import opened
from tests.web.doors import OWNER, as_viewer
from tests.web.ledgers import checks

LOOPBACK: Final = "127.0.0.1"


class Visitor:
    """Runs scripts on a console that is served by the event loop of the test."""

    def __init__(self, chromium: Chromium, base: str) -> None:
        self._chromium = chromium
        self._base = base

    def run(self, script: str, *arguments: str) -> Script:
        """Start a script."""
        return self._chromium.run(self._base, script, *arguments)

    async def troubles(self, script: str, *arguments: str) -> list[str]:
        """Run a script to its end; return what went wrong."""
        with self.run(script, *arguments) as running:
            return await asyncio.to_thread(running.troubles)


@pytest.fixture(scope="session")
def chromium() -> Chromium:
    return Chromium.find()


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        await fill(journal, datetime.now(UTC))
        yield journal


@pytest.fixture
async def visitor(chromium: Chromium, journal: Journal) -> AsyncIterator[Visitor]:
    sock = listen(LOOPBACK, 0, "--console-port")
    app = console(journal.path, checks(), Metrics(), lambda: FACTS)
    server = listener(as_viewer(app, OWNER))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    yield Visitor(chromium, f"http://{LOOPBACK}:{sock.getsockname()[1]}")
    await stop(server, serving)
