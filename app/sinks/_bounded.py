"""The JSON document within a receiver's limit: what does not fit is left out at field boundaries, and counted.

The document then has `truncated`, such as `{"values": 1, "changes": 3, "patch": 7}`: so many values, field changes,
blocks, operations of the patch and objects are missing. The whole is in the ledger, where `link` leads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from app.core import text as plain
from app.core.change import Entry, FieldChange, User
from app.core.finding import Block, DiffBlock, FileBlock, Finding, Notification
from app.sinks._document import document

Encode = Callable[[dict[str, Any]], bytes]

TITLE_LIMIT: Final = 300
DESCRIPTION_LIMIT: Final = 2000

# What `"truncated":{...}` takes at most, with a comma.
_COUNTS_BYTES: Final = 200
# One value shall not push all others out.
_GREATEST_SHARE: Final = 4


class Room:
    """How many bytes are left, and how much of what did not fit."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.share = left // _GREATEST_SHARE
        self.missing: Counter[str] = Counter()

    def takes(self, item: Any) -> bool:
        """Say whether there is room for the item and a comma, and take it then."""
        size = len(msgspec.json.encode(item)) + 1
        if size > self.left:
            return False
        self.left -= size
        return True


def bounded(notification: Notification, limit: int, encode: Encode) -> bytes:
    """Return the encoded document in at most `limit` bytes, if that is enough for what names the object."""
    whole = encode(document(notification))
    if len(whole) <= limit:
        return whole
    bare = msgspec.structs.replace(
        notification, finding=_bare_finding(notification.finding), entry=_bare_entry(notification.entry)
    )
    room = Room(limit - len(encode(document(bare))) - _COUNTS_BYTES)
    kept = _filled(notification, bare, room)
    return encode({**document(kept), "truncated": {word: count for word, count in room.missing.items() if count}})


def _bare_finding(finding: Finding) -> Finding:
    return msgspec.structs.replace(
        finding,
        title=plain.shorten(finding.title, TITLE_LIMIT),
        description=plain.shorten(finding.description, DESCRIPTION_LIMIT),
        blocks=(),
        annotations=msgspec.UNSET,
    )


def _bare_entry(entry: Entry) -> Entry:
    return msgspec.structs.replace(
        entry, user=User(username=entry.user.username), labels={}, changes=(), patch=(), object=msgspec.UNSET
    )


def _filled(whole: Notification, bare: Notification, room: Room) -> Notification:
    """Return the bare notification with as much of the whole as there is room for, what says most first."""
    labels, user = _identity(whole.entry, room)
    changes = tuple(_changes(whole.entry.changes, room))
    blocks = tuple(_blocks(whole.finding.blocks, room))
    entry = msgspec.structs.replace(bare.entry, user=user, labels=labels, changes=changes)
    if whole.entry.object is not msgspec.UNSET:
        entry = _or_count(entry, room, "object", whole.entry.object, 1)
    if whole.entry.patch:
        entry = _or_count(entry, room, "patch", whole.entry.patch, len(whole.entry.patch))
    finding = msgspec.structs.replace(bare.finding, blocks=blocks)
    return msgspec.structs.replace(bare, finding=finding, entry=entry)


def _identity(entry: Entry, room: Room) -> tuple[dict[str, str], User]:
    fits = len(msgspec.json.encode((entry.labels, entry.user))) <= room.share and room.takes((entry.labels, entry.user))
    if fits:
        return entry.labels, entry.user
    room.missing["labels"] += len(entry.labels)
    room.missing["groups"] += len(entry.user.groups)
    return {}, User(username=entry.user.username)


def _or_count(entry: Entry, room: Room, name: str, value: Any, count: int) -> Entry:
    # The name, quotes and colon are more than the comma that the room counts.
    if room.takes([value, name, "..."]):
        return msgspec.structs.replace(entry, **{name: value})
    room.missing[name] += count
    return entry


def _changes(changes: tuple[FieldChange, ...], room: Room) -> Iterator[FieldChange]:
    """Yield the changes that fit; of one with too large a value what was changed, without from and to what."""
    for change in changes:
        if len(msgspec.json.encode(change)) <= room.share and room.takes(change):
            yield change
        elif room.takes(named := FieldChange(change.path, change.op)):
            room.missing["values"] += 1
            yield named
        else:
            room.missing["changes"] += 1


def _blocks(blocks: tuple[Block, ...], room: Room) -> Iterator[Block]:
    for block in blocks:
        if isinstance(block, DiffBlock):
            if room.takes(DiffBlock(changes=())):
                yield DiffBlock(changes=tuple(_changes(block.changes, room)))
        elif room.takes(block):
            yield block
        elif isinstance(block, FileBlock) and room.takes(ended := _end(block, room.left)):
            room.missing["files"] += 1
            yield ended
        else:
            room.missing["blocks"] += 1


def _end(block: FileBlock, left: int) -> FileBlock:
    """Return the end of a file: of a log it says most. JSON makes at most six bytes of a character's byte."""
    characters = max((left - len(block.name.encode()) * 6 - 100) // 6, 0)
    return FileBlock(name=block.name, content=block.content[-characters:] if characters else "")
