"""What receivers of events and incidents ask about a notification: what it is about, and which belong together."""

from __future__ import annotations

from typing import Final

from app.core import text as plain
from app.core.finding import Notification
from app.sinks._text import VALUE_LIMIT

FAILED: Final = "FAILED"


def is_failure(notification: Notification) -> bool:
    """Say whether something is broken, such as a failed Job; all else is a change, and no incident."""
    return notification.entry.operation == FAILED


def summary(notification: Notification, limit: int) -> str:
    """Return title, object and actor as one harmless line: `Deployment/shop/web updated, by alice with kubectl-edit`.

    The object is named once, whether or not the title names it: `Job Failed: Job/shop/nightly-28391`.
    """
    person = plain.who(notification.entry)
    told = plain.one_line(notification.finding.title, VALUE_LIMIT)
    if notification.entry.resource.name not in notification.finding.title:
        told = f"{told}: {subject(notification)}"
    return plain.shorten(f"{told}, by {person}" if person else told, limit)


def source(notification: Notification) -> str:
    """Return where it happened: the cluster, or `kubernetes` if that has no name."""
    return plain.one_line(notification.entry.cluster, VALUE_LIMIT) or "kubernetes"


def subject(notification: Notification) -> str:
    """Return what it is about, such as `Deployment/shop/web`, as one harmless line."""
    return plain.one_line(str(notification.entry.resource), VALUE_LIMIT)
