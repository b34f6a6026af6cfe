"""What a playbook says about an entry, in neutral blocks that each sink renders in its own way."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from app.core.change import Entry, FieldChange


class Severity(enum.StrEnum):
    """How much a finding matters; the names are Robusta's."""

    DEBUG = "DEBUG"
    INFO = "INFO"
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"


class TextBlock(msgspec.Struct, frozen=True, tag="text", tag_field="type"):
    """A paragraph of plain text (never markup: names and values come from strangers)."""

    text: str


class TableBlock(msgspec.Struct, frozen=True, tag="table", tag_field="type"):
    """Rows under headers; every cell is plain text."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


class DiffBlock(msgspec.Struct, frozen=True, tag="diff", tag_field="type"):
    """Field changes, old and new."""

    changes: tuple[FieldChange, ...]


class FileBlock(msgspec.Struct, frozen=True, tag="file", tag_field="type"):
    """Text that is better attached than printed, such as logs."""

    name: str
    content: str


class JsonBlock(msgspec.Struct, frozen=True, tag="json", tag_field="type"):
    """A JSON document, such as a whole (redacted) object."""

    value: Any


Block = TextBlock | TableBlock | DiffBlock | FileBlock | JsonBlock


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One message about one entry. `sinks` names the receivers that the playbook chose; empty means the defaults."""

    playbook: str
    title: str
    description: str = ""
    severity: Severity = Severity.INFO
    aggregation_key: str = ""
    blocks: tuple[Block, ...] = ()
    sinks: tuple[str, ...] = ()
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    """Those of the object, redacted, for the receivers' templates and groups; unset where it has none."""


class Folded(msgspec.Struct, frozen=True, kw_only=True):
    """How many findings a notification stands for, and when the first of them was recorded (RFC 3339, UTC)."""

    count: int
    since: str


class Notification(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink is asked to send: a finding with the entry that it is about.

    `delivery_id` is stable over retries, so that a receiver can drop repeats (delivery is at least once). `link` leads
    to the entry, if people told us where they reach the console. `folded` is set where one notification stands for
    several findings, of which `finding` is the last.
    """

    delivery_id: str
    finding: Finding
    entry: Entry
    attempt: int = 1
    link: str = ""
    folded: Folded | None = None
