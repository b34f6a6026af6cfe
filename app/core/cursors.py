"""Numbers as callers of the API get them: to hand back, not to read."""

from __future__ import annotations

import base64
import binascii
from typing import Final

_BYTES: Final = 8


def encoded(number: int) -> str:
    """Return an opaque text for a number of up to 63 bits, such as a sequence number."""
    return base64.urlsafe_b64encode(number.to_bytes(_BYTES, "big")).decode("ascii").rstrip("=")


def decoded(text: str) -> int:
    """Return the number of an opaque text; raises ValueError for what is none."""
    try:
        raw = base64.b64decode(text + "=", altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    number = int.from_bytes(raw, "big")
    if len(raw) != _BYTES or number >= 1 << 63:
        raise ValueError("this is no cursor")
    return number
