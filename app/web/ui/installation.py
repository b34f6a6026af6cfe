"""What the status page shows of the process behind it, beside what its checks and metrics say."""

from __future__ import annotations

from typing import Literal

import msgspec

from app.core.report_wish import Office

SinkState = Literal["up", "missing", "left out"]


class PlaybookFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A playbook of the configuration in effect, or one that is only known for what it found (`is_configured`)."""

    name: str
    triggers: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    sinks: tuple[str, ...] = ()
    is_configured: bool = True


class SinkFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A sink of the configuration in effect; `reason` says why it is not up."""

    name: str
    type: str = ""
    state: SinkState = "up"
    reason: str = ""


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What a process tells of itself: its file and since when that is in effect (RFC 3339), playbooks and sinks.

    `configuration` is YAML, without what is secret.

    Empty where nobody tells; then the page says only what is measured. `office` is when people are at work.
    """

    cluster: str = ""
    config_file: str = ""
    loaded_at: str = ""
    refused: str = ""
    records: str = ""
    configuration: str = ""
    playbooks: tuple[PlaybookFacts, ...] = ()
    sinks: tuple[SinkFacts, ...] = ()
    office: Office = Office()
