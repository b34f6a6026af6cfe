"""Entries and findings as the bytes of a row, and back."""

from __future__ import annotations

import zlib
from typing import Final

import msgspec

from app.core.change import Entry
from app.core.finding import Finding
from app.core.identity import random_of
from app.store.journal import EntryRow

_DEFLATED: Final = 0x78
"""The first byte of a zlib stream (RFC 1950) of the window size used here; JSON begins with `{`."""

_WORTH_DEFLATING: Final = 2048

_encoder: Final = msgspec.json.Encoder()


class FindingHead(msgspec.Struct, frozen=True):
    """What lists show of a finding; its blocks are skipped."""

    playbook: str
    title: str


UNREADABLE: Final = (msgspec.MsgspecError, zlib.error, ValueError, IndexError, RecursionError)
"""What reading a row raises that was not written here, or was damaged since."""

_heads: Final = msgspec.json.Decoder(FindingHead)
_findings: Final = msgspec.json.Decoder(Finding)
_entries: Final = msgspec.json.Decoder(Entry)


def entry_row(sequence: int, entry: Entry) -> EntryRow:
    """Return the row of an entry; large ones, and those that keep a whole object, are deflated."""
    body = _encoder.encode(entry)
    if len(body) > _WORTH_DEFLATING:
        body = zlib.compress(body, 1)
    resource = entry.resource
    return EntryRow(
        sequence,
        resource.kind,
        resource.namespace,
        resource.name,
        entry.user.username,
        entry.operation,
        body,
        random_of(entry.id),
    )


def finding_body(finding: Finding) -> bytes:
    """Return the bytes of a finding, blocks included."""
    return zlib.compress(_encoder.encode(finding), 1)


def inflated(body: bytes) -> bytes:
    """Return the JSON in a row."""
    return zlib.decompress(body) if body[0] == _DEFLATED else body


def read_entry(body: bytes) -> Entry:
    """Read an entry from its row."""
    return _entries.decode(inflated(body))


def read_finding(body: bytes) -> Finding:
    """Read a finding from its row."""
    return _findings.decode(inflated(body))


def read_finding_head(body: bytes) -> FindingHead:
    """Read what lists show of a finding, also where the rest of it cannot be read."""
    try:
        return _heads.decode(inflated(body))
    except UNREADABLE:
        return FindingHead("", "(cannot be read)")
