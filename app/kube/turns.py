"""Long rows of small work in the event loop, with turns in between for everybody else, such as a webhook."""

from __future__ import annotations

import asyncio
import time
from typing import Final

SLICE_SECONDS: Final = 0.01
"""Work in a row: much longer than a turn costs, much shorter than anybody waits."""


class Turns:
    """Gives way to others whenever a slice of time was worked without a turn of the event loop."""

    def __init__(self, slice_seconds: float = SLICE_SECONDS) -> None:
        self._slice = slice_seconds
        self._until = time.perf_counter() + slice_seconds

    async def give(self) -> None:
        """Let others work if it is time; to be called between two pieces of work."""
        if time.perf_counter() >= self._until:
            await asyncio.sleep(0)
            self._until = time.perf_counter() + self._slice
