"""The JSON document that receivers of JSON get: a contract, the same from every sink."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import msgspec

from app.core.finding import Notification

EVENT_TYPE: Final = "io.kubewitness.finding.v1"


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


def cloud_event(notification: Notification, data: dict[str, Any]) -> dict[str, Any]:
    """Return the document as the data of a CloudEvents 1.0 event in structured mode."""
    entry = notification.entry
    return {
        "specversion": "1.0",
        "id": notification.delivery_id,
        "source": f"/kubewitness/{quote(entry.cluster, safe='')}".rstrip("/"),
        "type": EVENT_TYPE,
        "subject": str(entry.resource),
        "time": entry.at,
        "datacontenttype": "application/json",
        "data": data,
    }
