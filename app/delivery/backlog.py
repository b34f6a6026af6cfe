"""How a backlog reaches a receiver that takes few messages: as digests, so that it drains in minutes, not in days."""

from __future__ import annotations

import math
from typing import Final

from app.delivery.queue import DeliveryQueue
from app.sinks.base import Pace

PATIENCE_SECONDS: Final = 30.0
"""What the pace lets through in this time, and at least `FEWEST`, is sent one by one."""

FEWEST: Final = 50

DRAIN_SECONDS: Final = 300.0
"""In about this time a backlog is to be told; no digest is of less than `SMALLEST` or of more than `LARGEST`."""

SMALLEST: Final = 100
LARGEST: Final = 1000

# At a message a second more than this changes nothing: each digest is the largest already.
_COUNTED: Final = 300_000


async def digest_size(queue: DeliveryQueue, sink: str, pace: Pace | None) -> int:
    """Return how many of the sink's due deliveries are to be told as one message; 0 where each is to be one."""
    if pace is None:
        return 0
    return size(await queue.backlog(sink, _COUNTED), pace)


def size(due: int, pace: Pace) -> int:
    """Return how many of so many due deliveries are to be told as one message; 0 where each is to be one.

    At a message a second, 50 are sent one by one, 10,000 are 100 messages, and 100,000 are 300 of 334 each.
    """
    rate = pace.messages / pace.seconds
    if due <= max(FEWEST, PATIENCE_SECONDS * rate):
        return 0
    return min(max(math.ceil(due / (DRAIN_SECONDS * rate)), SMALLEST), LARGEST)
