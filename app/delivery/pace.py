"""When a sink may send its next message: what the receiver documents that it takes, and what it asked for."""

from __future__ import annotations

from collections import deque
from datetime import datetime, timedelta
from typing import Final

from app.sinks.base import Pace

NOW: Final = timedelta(0)

_MOST_LANES: Final = 1024
"""Lanes beyond which those are forgotten that need not wait."""


class Lanes:
    """Keeps a sink to its pace, for each lane by itself: in any span of `pace.seconds`, `pace.messages` at most.

    A message counts from the moment at which its sending ended: however long it took to arrive, the receiver sees no
    more than it takes. Time is passed in; a clock that is set back makes nobody wait longer than the span.
    """

    def __init__(self, pace: Pace | None) -> None:
        self._pace = pace
        self._span = timedelta(seconds=pace.seconds) if pace else NOW
        self._sent: dict[str, deque[datetime]] = {}
        self._held: dict[str, tuple[datetime, timedelta]] = {}

    def wait(self, lane: str, now: datetime) -> timedelta:
        """Return how long the lane's next message has to wait; zero if it need not."""
        since, asked = self._held.get(lane, (now, NOW))
        held = asked - (now - since) if now >= since else NOW
        return max(held, self._wait_for_pace(lane, now), NOW)

    def sent(self, lane: str, now: datetime) -> None:
        """Count a message, whatever became of it."""
        if self._pace is not None:
            self._sent.setdefault(lane, deque(maxlen=self._pace.messages)).append(now)
            self._forget(now)

    def hold(self, lane: str, now: datetime, asked: timedelta) -> None:
        """Send nothing in this lane for so long: its receiver asked for it. A clock that is set back ends that."""
        self._held[lane] = now, asked

    def _wait_for_pace(self, lane: str, now: datetime) -> timedelta:
        sent = self._sent.get(lane)
        if self._pace is None or sent is None or len(sent) < self._pace.messages:
            return NOW
        return min(sent[0] + self._span - now, self._span)

    def _forget(self, now: datetime) -> None:
        if len(self._sent) + len(self._held) <= _MOST_LANES:
            return
        for lane in [*self._sent, *self._held]:
            if self.wait(lane, now) <= NOW:
                self._held.pop(lane, None)
                if lane in self._sent and self._sent[lane][-1] + self._span <= now:
                    del self._sent[lane]
