"""The JSON document that receivers of JSON get: a contract, the same from every sink."""

from __future__ import annotations

from typing import Any

import msgspec

from app.core.finding import Notification


def document(notification: Notification) -> dict[str, Any]:
    """Return `{"delivery_id", "finding", "entry"}`, and `link` and `folded` if there are any, for msgspec.

    Repeats of a delivery are equal: what varies between attempts is left out.
    """
    more = {"link": notification.link, "folded": notification.folded}
    return {
        "delivery_id": notification.delivery_id,
        "finding": notification.finding,
        "entry": notification.entry,
        **{key: value for key, value in more.items() if value},
    }


def line(notification: Notification) -> bytes:
    """Return the document as one line of UTF-8, with its newline."""
    return msgspec.json.encode(document(notification)) + b"\n"
