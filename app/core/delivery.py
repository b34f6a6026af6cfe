"""The life of a delivery: a finding on its way to one sink.

pending ──claim──> pending, leased ──sent──> delivered
   ^                    │ temporary failure: next attempt later
   └────────────────────┤
   requeued by people   └ refused, or out of attempts ──> dead

A delivery that the noise rules or the sink's grouping keep back is withheld: it says why, and is never sent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from app.core.finding import Notification
from app.core.raw import items, string

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

    `others` are deliveries of the same `fold`, oldest first, that are told with it as one notification: what becomes of
    it becomes of them. Their notifications are light: see `light`.
    """

    id: int
    notification: Notification
    fold: str = ""
    others: tuple[Claimed, ...] = ()

    @property
    def every(self) -> tuple[Claimed, ...]:
        """All deliveries that are told, oldest first: the others and, last, itself."""
        return (*self.others, self)


class ClaimResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was claimed for a sink, and when its next pending delivery, leased ones included, will be due."""

    deliveries: tuple[Claimed, ...]
    next_due: datetime | None


class Settlement(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended: delivered, dead, or pending again with the time of the next attempt.

    Withheld with a reason as `error`, or pending without an error, it was no attempt. `fold` replaces the delivery's
    fold; None leaves it.
    """

    id: int
    state: DeliveryState
    error: str = ""
    next_attempt_at: datetime | None = None
    fold: str | None = None


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """What is remembered for a sink under a key until it expires, written in one transaction with settlements."""

    key: str
    body: bytes
    expires_at: datetime


def light(notification: Notification) -> Notification:
    """Return the notification without what is only needed to show it by itself: blocks, field changes, the object.

    What it can be grouped, routed to a lane and listed by is kept, the object's owners and node among it.
    """
    entry, replace = notification.entry, msgspec.structs.replace
    kept = entry.object if entry.object is msgspec.UNSET else _owners_and_node(entry.object)
    return replace(
        notification,
        finding=replace(notification.finding, blocks=()),
        entry=replace(entry, changes=(), patch=(), object=kept),
    )


def _owners_and_node(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"ownerReferences": items(document, "metadata", "ownerReferences")},
        "spec": {"nodeName": string(document, "spec", "nodeName")},
    }
