"""The last lines of logs, for messages that have no room for more: of a log they say most."""

from __future__ import annotations

from typing import Final

import msgspec

from app.core.finding import FileBlock, Notification

# Characters of a file in which the lines are looked for.
_TAIL: Final = 4000


def with_last_lines(notification: Notification, count: int) -> Notification:
    """Return the notification with so many lines of each file at most; with 0 without files."""
    blocks = tuple(
        FileBlock(name=block.name, content="\n".join(block.content[-_TAIL:].splitlines()[-count:]))
        if isinstance(block, FileBlock)
        else block
        for block in notification.finding.blocks
        if count or not isinstance(block, FileBlock)
    )
    return msgspec.structs.replace(notification, finding=msgspec.structs.replace(notification.finding, blocks=blocks))
