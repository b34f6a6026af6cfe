"""Reading of raw Kubernetes documents whatever their shape: what is not as it should be reads as nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

_LARGEST: Final = 2**63
"""Kubernetes has no larger integers, and neither have the stores."""


def mapping(value: Any, *path: str) -> Mapping[str, Any]:
    """Return the map at the end of the path; an empty one if there is none."""
    found = at(value, *path)
    return found if isinstance(found, dict) else {}


def items(value: Any, *path: str) -> Sequence[Any]:
    """Return the list at the end of the path; an empty one if there is none."""
    found = at(value, *path)
    return found if isinstance(found, list) else ()


def string(value: Any, *path: str) -> str:
    """Return the string at the end of the path; an empty one if there is none."""
    found = at(value, *path)
    return found if isinstance(found, str) else ""


def number(value: Any, *path: str) -> int | None:
    """Return the integer at the end of the path; None if there is none that Kubernetes could have."""
    found = at(value, *path)
    return found if type(found) is int and -_LARGEST <= found < _LARGEST else None


def at(value: Any, *path: str) -> Any:
    """Return what is at the end of the path; None if there is nothing."""
    for key in path:
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def moment(text: str) -> datetime | None:
    """Return the time that RFC 3339 means, in UTC; None for any other text."""
    try:
        read = datetime.fromisoformat(text)
        return (read.replace(tzinfo=UTC) if read.tzinfo is None else read).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
