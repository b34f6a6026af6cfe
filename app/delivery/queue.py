"""What the dispatcher needs of whoever keeps the deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

from app.core.delivery import Claimed, Settlement


class ClaimResult(Protocol):
    """What a claim found: deliveries leased to the caller, and when the next one is due, if there is one.

    `next_due` may be in the past where more is due than was claimed.
    """

    @property
    def deliveries(self) -> Sequence[Claimed]:
        """Leased to the caller, in the order in which they are to be sent."""

    @property
    def next_due(self) -> datetime | None:
        """When there will be something to claim, as far as is known now."""


class DeliveryQueue(Protocol):
    """A durable queue of deliveries, one line per sink."""

    async def claim(self, sink: str, *, limit: int, lease: timedelta) -> ClaimResult:
        """Lease up to `limit` due deliveries of the sink; nobody else gets them until the lease ends."""

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record how attempts ended, atomically.

        A settlement that is `pending` without an error gives back a delivery that was not tried: that is no attempt.
        """
