"""The life of a delivery: a finding on its way to one sink.

pending ──claim──> pending, leased ──sent──> delivered
   ^                    │ temporary failure: next attempt later
   └────────────────────┤
   requeued by people   └ refused, or out of attempts ──> dead
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from app.core.finding import Notification

DeliveryState = Literal["pending", "delivered", "dead"]


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
    """A delivery leased to the caller; `notification.attempt` is 1 for the first attempt."""

    id: int
    notification: Notification


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
