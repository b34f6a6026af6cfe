"""What the dispatcher needs of whoever keeps the deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.core.delivery import Claimed, ClaimResult, Memory, Settlement


class DeliveryQueue(Protocol):
    """A durable queue of deliveries, one line per sink."""

    async def claim(self, sink: str, *, limit: int, lease: timedelta, whole: bool = True) -> ClaimResult:
        """Lease up to `limit` due deliveries of the sink, earliest first; nobody else gets them until the lease ends.

        All that are due with the same fold are one of the result. Without `whole`, their notifications are light.
        `next_due` of the result may be in the past where more is due than was claimed.
        """

    async def whole(self, claimed: Claimed) -> Claimed | None:
        """Return a delivery that was claimed light with all of its notification; None where that cannot be read."""

    async def backlog(self, sink: str, most: int) -> int:
        """Return how many deliveries of the sink are due, counted up to `most`."""

    async def hasten(self, sink: str, fold: str, latest: datetime) -> None:
        """Let what has not failed yet, and has a fold that begins so, wait until then at the latest."""

    async def settle(
        self, settlements: Sequence[Settlement], *, sink: str = "", memories: Sequence[Memory] = ()
    ) -> None:
        """Record how attempts ended and what is to be remembered for the sink, atomically.

        A settlement that is `pending` without an error gives back a delivery that was not tried: that is no attempt.
        """

    async def recall(self, sink: str, keys: Sequence[str]) -> dict[str, bytes]:
        """Return what is remembered for the sink under these keys."""
