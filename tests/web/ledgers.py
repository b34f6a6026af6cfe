"""A console before a journal with a few entries, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx

from app.core.viewer import Viewer
from app.store.database import FILE_NAME
from app.store.journal import Journal, Record
from app.telemetry.metrics import Metrics
from app.web.console import Console, console
from app.web.health import Check, Health
from tests.web.doors import OWNER, as_viewer


def checks(**states: Check) -> Health:
    """Health with one check per keyword."""

    def fixed(check: Check) -> Callable[[], Check]:
        return lambda: check

    return Health({name: fixed(check) for name, check in states.items()})


def console_of(data_dir: Path, health: Health | None = None, metrics: Metrics | None = None) -> Console:
    return console(data_dir / FILE_NAME, health or checks(), metrics or Metrics())


def client_of(app: Console, viewer: Viewer = OWNER) -> httpx.AsyncClient:
    """Ask a console as somebody whom its guard knows."""
    transport = httpx.ASGITransport(app=as_viewer(app, viewer), raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://x")


async def write(data_dir: Path, *records: Record) -> None:
    """Append records to the journal of a folder."""
    journal = Journal(data_dir)
    journal.start()
    await asyncio.gather(*map(journal.append, records))
    await journal.close(5)
