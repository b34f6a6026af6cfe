"""Keeps guessing slow, without a way to lock anybody out: nothing is remembered of a peer once it has gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

from app.web.identities import TooManyAttemptsError

AT_ONCE: Final = 4
"""Logins of one peer that are looked at together."""

MOST: Final = 32
"""Logins of one peer that wait or are looked at; who comes after them is told to try again."""

_PAUSE_SECONDS: Final = 1.0
"""How long one that failed keeps its place: with `AT_ONCE` that bounds the guesses of a peer to four a second."""


class Attempts:
    """Gives each peer a few places for logins that are still to be proven; who has proven theirs needs none."""

    def __init__(self, pause: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._pause = pause
        self._places: dict[str, asyncio.Semaphore] = {}
        self._present: dict[str, int] = {}

    @asynccontextmanager
    async def place(self, peer: str) -> AsyncIterator[None]:
        """Wait for a place, and keep it; raises TooManyAttemptsError where too many wait."""
        if self._present.get(peer, 0) >= MOST:
            raise TooManyAttemptsError
        self._present[peer] = self._present.get(peer, 0) + 1
        places = self._places.setdefault(peer, asyncio.Semaphore(AT_ONCE))
        try:
            async with places:
                yield
        finally:
            self._present[peer] -= 1
            if not self._present[peer]:
                del self._present[peer], self._places[peer]

    async def failed(self) -> None:
        """Let one that failed wait, in its place."""
        await self._pause(_PAUSE_SECONDS)
