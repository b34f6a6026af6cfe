"""What the dispatcher needs of whoever keeps the deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

from app.core.delivery import ClaimResult, Settlement


class DeliveryQueue(Protocol):
    """A durable queue of deliveries, one line per sink."""

    async def claim(self, sink: str, *, limit: int, lease: timedelta) -> ClaimResult:
        """Lease up to `limit` due deliveries of the sink, earliest first; nobody else gets them until the lease ends.

        `next_due` of the result may be in the past where more is due than was claimed.
        """

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Record how attempts ended, atomically.

        A settlement that is `pending` without an error gives back a delivery that was not tried: that is no attempt.
        """
