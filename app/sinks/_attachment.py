"""Attachments: everything that a notification says as a text file, for what a message cannot hold."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from app.core import text as plain
from app.core.finding import FileBlock, Notification
from app.sinks._text import FILE_LINES, VALUE_LIMIT, Markup, message, whole_text

NAME: Final = "notification.txt"
"""Names from the cluster stay out of headers and of people's disks."""


class FormPart(NamedTuple):
    """A part of a form; with `filename` it is a file."""

    name: str
    content: bytes
    kind: str = "text/plain; charset=utf-8"
    filename: str = ""


def attachment(notification: Notification, markup: Markup, limit: int, *, titled: bool = True) -> bytes | None:
    """Return the file, of at most 8 MiB, if a message of `limit` characters leaves something out; else None.

    A message always leaves out the beginning of files such as logs.
    """
    if has_files(notification) or len(message(notification, markup, sys.maxsize, titled=titled)) > limit:
        return whole_text(notification).encode()
    return None


def has_files(notification: Notification) -> bool:
    """Say whether the finding has files, such as logs."""
    return any(isinstance(block, FileBlock) for block in notification.finding.blocks)


def with_files(notification: Notification, characters: int) -> Notification:
    """Return the notification with that many characters of the end of each file, and how many lines are left out.

    With 0 characters it has no files.
    """
    finding = notification.finding
    cut = (
        _end(block, characters) if isinstance(block, FileBlock) else block
        for block in finding.blocks
        if characters or not isinstance(block, FileBlock)
    )
    return msgspec.structs.replace(notification, finding=msgspec.structs.replace(finding, blocks=tuple(cut)))


def _end(block: FileBlock, characters: int) -> FileBlock:
    last, before = plain.last_lines(block.content[-characters:], FILE_LINES, VALUE_LIMIT)
    before += block.content[:-characters].count("\n")
    return FileBlock(name=f"{block.name} ({before} earlier lines)" if before else block.name, content="\n".join(last))


def multipart(notification: Notification, fields: Sequence[FormPart]) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of a form with files (RFC 7578), the same over retries."""
    # Nobody who could write into the content knows the delivery's id, so the boundary is not in it.
    boundary = hashlib.sha256(notification.delivery_id.encode()).hexdigest()
    body = b"".join([*(_written(boundary, field) for field in fields), f"--{boundary}--\r\n".encode()])
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def _written(boundary: str, field: FormPart) -> bytes:
    file = f'; filename="{field.filename}"' if field.filename else ""
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field.name}"{file}\r\nContent-Type: {field.kind}'
    return b"%s\r\n\r\n%s\r\n" % (head.encode(), field.content)
