"""Overrides as options: a room, topic or webhook that is taken from labels, annotations or the cluster's name.

What comes out was chosen by whoever may label the object: a sink checks it.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from app.core.finding import Notification
from app.sinks._channel import channel, compile_override


def overridden(override: str, notification: Notification) -> str:
    """Return the override's value for this notification; empty if one of its variables has no value."""
    return channel(compile_override(override), notification) or ""


def _checked(text: str) -> str:
    compile_override(text)
    return text


Override = Annotated[str, AfterValidator(_checked)]
"""The text of an override: Robusta's `labels.team`, `$cluster_name-${annotations.example.com/room}`."""
