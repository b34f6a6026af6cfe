"""A journal that a test can keep waiting."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from typing_extensions import override

from app.store.journal import Journal

T = TypeVar("T")


class SlowJournal(Journal):
    """Takes nothing until a test lets it, and counts what it was asked."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.calls = 0
        self.asked = asyncio.Event()
        self.free = asyncio.Event()

    @override
    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self.calls += 1
        self.asked.set()
        await self.free.wait()
        return await super().call(work)
