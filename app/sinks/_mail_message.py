"""A notification as a mail: text and HTML that say the same, long values and logs as attached text files.

Repeats of a delivery carry the same Message-ID and Date, so that mail servers and readers can drop them; all mails
about one object refer to the same thread.
"""

from __future__ import annotations

import hashlib
import html
import itertools
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import Any, Final

import msgspec

from app.core import text as plain
from app.core.change import Entry, FieldChange
from app.core.finding import DiffBlock, FileBlock, JsonBlock, Notification, Severity
from app.sinks import _text
from app.sinks._mail_server import Server

BODY_BYTES: Final = 100_000
"""Bytes of each form of the text. Gmail hides what is beyond 102 KB of a mail:
https://support.google.com/mail/thread/6187016 ("[Message clipped]")."""

ATTACHED_BYTES: Final = 5 * 1024 * 1024
"""Bytes of all attachments before base64 makes them a third larger: with the rest they stay below 10,240,000 bytes,
which Postfix takes unless told otherwise: https://www.postfix.org/postconf.5.html#message_size_limit"""

SUBJECT_LIMIT: Final = 200
"""Characters; RFC 5322 has no limit for a folded header, but people have one."""

_MANY_FIELDS: Final = 100
_TEXT_NAME: Final = re.compile(r"[^A-Za-z0-9.-]+")
_CODE: Final = "background:#f3f5f7;padding:1px 4px"
_PRE: Final = "background:#f3f5f7;padding:8px;font-size:12px;overflow:auto"
_BODY: Final = "font-family:Helvetica,Arial,sans-serif;font-size:14px;line-height:1.6;color:#1f2328;padding:4px 14px"

STYLED: Final = _text.HTML._replace(
    code=lambda text: f'<code style="{_CODE}">{html.escape(text)}</code>',
    pre=lambda lines: f'<pre style="{_PRE}">{html.escape(chr(10).join(lines))}</pre>',
)
"""HTML whose style is inline: mail readers drop style sheets."""


def compose(notification: Notification, server: Server, *, with_header: bool = True) -> EmailMessage:
    """Return the whole mail. Texts from the cluster are harmless in its headers and in both forms of its text."""
    message = EmailMessage(policy=SMTP)
    for name, value in _headers(notification, server):
        message[name] = value
    message.set_content(_body(notification, _text.PLAIN, "\n", with_header=with_header), cte="quoted-printable")
    message.add_alternative(_page(notification, with_header=with_header), subtype="html", cte="quoted-printable")
    for name, content in _attachments(notification):
        message.add_attachment(content, filename=name, cte="base64")
    return message


def readable(message: EmailMessage) -> str:
    """Return the mail for people to read: its headers, then each part as it will be shown."""
    header = [f"{name}: {value}" for name, value in message.items() if name not in ("Content-Type", "MIME-Version")]
    return "\n".join([*header, "", *_parts(message)])


def _parts(message: EmailMessage) -> Iterator[str]:
    for part in message.walk():
        if not part.is_multipart():
            name = part.get_filename()
            yield f"--- {part.get_content_type()}{f', attached as {name}' if name else ''} ---"
            yield part.get_content().replace("\r\n", "\n").rstrip() + "\n"


def _headers(notification: Notification, server: Server) -> Iterator[tuple[str, Any]]:
    domain, thread = server.sender.domain, _thread(notification.entry, server.sender.domain)
    yield "From", server.sender
    yield "To", server.to
    yield from ((name, value) for name, value in (("Cc", server.cc), ("Reply-To", server.reply_to)) if value)
    yield "Subject", subject(notification)
    yield "Date", format_datetime(_moment(notification.entry.at))
    yield "Message-ID", f"<{_TEXT_NAME.sub('.', notification.delivery_id).strip('.')}@{domain}>"
    yield "In-Reply-To", thread
    yield "References", thread
    yield "Auto-Submitted", "auto-generated"  # RFC 3834: nobody's holiday notice answers it
    yield "X-Auto-Response-Suppress", "All"  # the same, for Exchange
    if notification.finding.severity is Severity.HIGH:
        yield "Importance", "high"
    yield from server.headers.items


def subject(notification: Notification) -> str:
    """Return one line that cannot begin another header, nor hide text in an encoded word (RFC 2047)."""
    cluster = notification.entry.cluster
    place = f" ({plain.one_line(cluster, 60)})" if cluster else ""
    title = plain.shorten(_text.title(notification), SUBJECT_LIMIT - len(place))
    return f"{title}{place}".replace("=?", "= ?")


def _thread(entry: Entry, domain: str) -> str:
    """Return the id that all mails about one object refer to; there is no mail of this id."""
    resource = entry.resource
    named = "\0".join((entry.cluster, resource.group, resource.kind, resource.namespace, resource.name))
    return f"<{hashlib.sha256(named.encode()).hexdigest()[:32]}.object@{domain}>"


def _moment(at: str) -> datetime:
    try:
        moment = datetime.fromisoformat(at)
    except ValueError:  # written by an odd clock; the mail must not fail over it
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _page(notification: Notification, *, with_header: bool) -> str:
    colour = _text.COLOURS[notification.finding.severity]
    body = _body(notification, STYLED, "<br>\n", with_header=with_header)
    return f'<html><body><div style="{_BODY};border-left:4px solid {colour}">\n{body}\n</div></body></html>\n'


def _body(notification: Notification, markup: _text.Markup, newline: str, *, with_header: bool) -> str:
    if with_header:
        return _text.message(notification, markup, BODY_BYTES, _size, newline)
    unlinked = msgspec.structs.replace(notification, link="")
    whole = _text.message(unlinked, markup, sys.maxsize, _size, newline, titled=False)
    if _size(whole) <= BODY_BYTES:
        return whole
    return _text.message(notification, markup, BODY_BYTES, _size, newline, titled=False)


def _size(text: str) -> int:
    return len(text.encode())


def _attachments(notification: Notification) -> Iterator[tuple[str, str]]:
    """Yield the files that fit; of the first that does not, its end, since the end of a log says most."""
    left = ATTACHED_BYTES
    for name, content in _files(notification):
        data = content.encode(errors="replace")
        missing = f"(the first {len(data) - left} bytes are left out)\n" if len(data) > left else ""
        yield file_name(name), missing + _harmless(data[-left:].decode(errors="ignore"))
        left -= len(data)
        if left <= 0:
            return


def _harmless(text: str) -> str:
    """Return the text without what would act on the terminal, or change the order of what it shows."""
    return "\n".join(plain.lines(text, len(text))) + "\n"


def _files(notification: Notification) -> Iterator[tuple[str, str]]:
    blocks = plain.shown_blocks(notification)
    changes = [change for block in blocks if isinstance(block, DiffBlock) for change in block.changes]
    if len(changes) > _MANY_FIELDS or any(map(_is_long, changes)):
        yield "changes.txt", _changes(changes)
    for block in blocks:
        if isinstance(block, FileBlock):
            yield block.name, block.content
        if isinstance(block, JsonBlock) and len(document := _document(block.value)) > _text.VALUE_LIMIT:
            yield "object.json", document


def _is_long(change: FieldChange) -> bool:
    return any(len(_value(value)) > _text.VALUE_LIMIT for value in (change.old, change.new))


def _changes(changes: list[FieldChange]) -> str:
    """Return all values whole, as long as there is room for them."""
    texts = (f"{change.path}\n--- old\n{_value(change.old)}\n+++ new\n{_value(change.new)}\n" for change in changes)
    sizes = itertools.accumulate(texts, lambda done, text: (done[0] + len(text), text), initial=(0, ""))
    return "\n".join(text for _, text in itertools.takewhile(lambda done: done[0] <= ATTACHED_BYTES * 2, sizes) if text)


def _value(value: Any) -> str:
    if value is msgspec.UNSET:
        return plain.ABSENT
    return value if isinstance(value, str) else _document(value)


def _document(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()


def file_name(name: str) -> str:
    """Return a name that is safe on any disk and opens as text, whatever a stranger called the file."""
    safe = _TEXT_NAME.sub("_", plain.one_line(name, 80)).strip("._-") or "file"
    return safe if safe.endswith((".txt", ".log", ".json", ".yaml")) else f"{safe}.txt"
