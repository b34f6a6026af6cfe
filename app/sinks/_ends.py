"""The last lines of logs, for messages that have no room for more: of a log they say most."""

from __future__ import annotations

import msgspec

from app.core import text as plain
from app.core.finding import FileBlock, Notification
from app.sinks._text import VALUE_LIMIT


def with_last_lines(notification: Notification, count: int) -> Notification:
    """Return the notification with so many lines of each file at most, and how many are left out; with 0 no files."""
    blocks = tuple(
        _ended(block, count) if isinstance(block, FileBlock) else block
        for block in notification.finding.blocks
        if count or not isinstance(block, FileBlock)
    )
    return msgspec.structs.replace(notification, finding=msgspec.structs.replace(notification.finding, blocks=blocks))


def _ended(block: FileBlock, count: int) -> FileBlock:
    last, before = plain.last_lines(block.content, count, VALUE_LIMIT)
    return FileBlock(name=f"{block.name} ({before} earlier lines)" if before else block.name, content="\n".join(last))
