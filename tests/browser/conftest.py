"""A console with a ledger that has something of everything, and a browser to look at it."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.store.journal import Journal
from app.telemetry.metrics import Metrics
from app.web.console import console
from app.web.server import listen, listener, stop
from tests.browser.ledgers import fill
from tests.e2e.environment import do_without
from tests.store.observed import opened
from tests.web.ledgers import checks

HERE: Final = Path(__file__).parent
MARKER: Final = "browser"


class Environment(BaseSettings):
    """`BROWSER_MODULES` is a folder whose `node_modules` has playwright-core and axe-core."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    browser_modules: Path | None = None


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", f"{MARKER}: needs Chromium, Node.js, and BROWSER_MODULES; run with -m {MARKER}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave these out of a run that does not ask for them."""
    if MARKER in config.option.markexpr:
        return
    chosen = [item for item in items if item.get_closest_marker(MARKER) is None]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


class Browser:
    """Runs the scripts beside this file; each ends with the list of what went wrong."""

    def __init__(self, node: str, chromium: str, modules: Path, pictures: Path, base: str) -> None:
        self._command = (node, chromium, modules)
        self.pictures = pictures
        self._base = base

    async def begin(self, script: str, *arguments: str) -> asyncio.subprocess.Process:
        """Start a script."""
        node, chromium, modules = self._command
        return await asyncio.create_subprocess_exec(
            node, HERE / script, modules, chromium, self._base, *arguments, stdout=asyncio.subprocess.PIPE
        )

    async def troubles(self, running: asyncio.subprocess.Process) -> list[str]:
        """Return what went wrong in a script, once it has ended."""
        output, _ = await running.communicate()
        found: list[str] = json.loads(output.splitlines()[-1])
        return found

    async def ready(self, running: asyncio.subprocess.Process) -> None:
        """Wait until a script is where something must happen."""
        assert running.stdout is not None
        line = await running.stdout.readline()
        assert line == b"ready\n", line


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    async with opened(tmp_path) as (journal, _):
        await fill(journal, datetime.now(UTC))
        yield journal


@pytest.fixture
async def browser(journal: Journal, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    tools: dict[str, Any] = {name: shutil.which(name) for name in ("node", "chromium")}
    tools["BROWSER_MODULES"] = Environment().browser_modules
    if missing := [name for name, found in tools.items() if not found]:
        do_without(f"there is no {', '.join(missing)}: pages are looked at with Chromium, playwright-core and axe-core")
    sock = listen("127.0.0.1", 0, "--console-port")
    server = listener(console(journal.path, checks(), Metrics()))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    base = f"http://127.0.0.1:{sock.getsockname()[1]}"
    pictures = tmp_path_factory.mktemp("pictures")
    yield Browser(tools["node"], tools["chromium"], tools["BROWSER_MODULES"], pictures, base)
    await stop(server, serving)
