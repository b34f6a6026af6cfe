"""The life of a delivery: a finding on its way to one sink.

pending ──claim──> pending, leased ──sent──> delivered
   ^                    │ temporary failure: next attempt later
   └────────────────────┤
   requeued by people   └ refused, or out of attempts ──> dead

A delivery that the noise rules or the sink's grouping keep back is withheld: it says why, and is never sent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from app.core.finding import Notification

DeliveryState = Literal["pending", "delivered", "dead", "withheld"]


class Addressee(msgspec.Struct, frozen=True):
    """A sink that is to get a finding: now, not before `after` with all of the same `fold` as one, or not at all.

    `withheld` says why it is not told at all. `after` is in milliseconds since the epoch.
    """

    sink: str
    withheld: str = ""
    fold: str = ""
    after: int = 0


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What people see of a delivery. Times are RFC 3339, UTC; `attempts` counts finished and running ones."""

    id: int
    entry_id: str
    sink: str
    playbook: str
    title: str
    state: DeliveryState
    attempts: int
    created_at: str
    updated_at: str
    next_attempt_at: str | None = None
    last_error: str = ""


class Claimed(msgspec.Struct, frozen=True, kw_only=True):
    """A delivery leased to the caller; `notification.attempt` is 1 for the first attempt.

    `others` are deliveries that are told with it, as one notification: what becomes of it becomes of them.
    """

    id: int
    notification: Notification
    others: tuple[int, ...] = ()


class ClaimResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was claimed for a sink, and when its next pending delivery, leased ones included, will be due."""

    deliveries: tuple[Claimed, ...]
    next_due: datetime | None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended: delivered, dead, or pending again with the time of the next attempt."""

    id: int
    state: DeliveryState
    error: str = ""
    next_attempt_at: datetime | None = None
