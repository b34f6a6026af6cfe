"""How pages put an entry into words: harmless texts of bounded length, ready to be escaped and shown."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from itertools import zip_longest
from typing import Any, Final
from urllib.parse import quote

import msgspec

from app.core import text as plain
from app.core.change import Entry, FieldChange, Resource

_PAST: Final = {
    "CREATE": "created",
    "UPDATE": "updated",
    "DELETE": "deleted",
    "CONNECT": "connected",
    "FAILED": "failed",
}
_NAME_LIMIT: Final = 120
_VALUE_LIMIT: Final = 72
_SHOWN_CHANGES: Final = 2
_STEP: Final = re.compile(r"\.?[^.\[\]]+(?:\[(?:[^\]\\]|\\.)*\])*|\[(?:[^\]\\]|\\.)*\]")
"""A step of a written path with the brackets that follow it."""

_SERVICE_ACCOUNT: Final = "system:serviceaccount:"
_UNADDRESSABLE: Final = frozenset(("", ".", ".."))
"""What stands for another place in a URL, so that no link can lead to an object of this name."""


class Brief(msgspec.Struct, frozen=True):
    """A field change in a list; `whole` is the path of which `path` has the end."""

    path: str
    whole: str
    old: str
    new: str


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in a list."""

    id: str
    at: str
    day: str
    operation: str
    tone: str
    kind: str
    namespace: str
    name: str
    subresource: str
    page: str
    who: str
    is_controller: bool
    tool: str
    briefs: tuple[Brief, ...]
    more: int
    dry_run: bool
    truncated: bool
    findings: int


def row(entry: Entry) -> Row:
    """Return an entry as a list shows it."""
    resource = entry.resource
    shown = entry.changes[:_SHOWN_CHANGES]
    return Row(
        id=entry.id,
        at=entry.at,
        day=entry.at[:10],
        operation=past(entry.operation),
        tone=tone(entry.operation),
        kind=plain.one_line(resource.kind, _NAME_LIMIT),
        namespace=plain.one_line(resource.namespace, _NAME_LIMIT),
        name=plain.one_line(resource.name, _NAME_LIMIT),
        subresource=plain.one_line(resource.subresource, _NAME_LIMIT),
        page=object_page(resource),
        who=short_user(entry.user.username),
        is_controller=entry.actor.kind == "controller",
        tool=plain.one_line(entry.field_manager, _NAME_LIMIT),
        briefs=tuple(map(brief, shown)),
        more=len(entry.changes) - len(shown),
        dry_run=entry.dry_run,
        truncated=entry.truncated is True,
        findings=len(entry.findings),
    )


def brief(change: FieldChange) -> Brief:
    """Return a field change on one line: of texts of several lines the first one that differs."""
    old, new = _telling(change.old, change.new)
    return Brief(
        short_path(change.path),
        plain.one_line(change.path, 1000),
        plain.value(old, _VALUE_LIMIT),
        plain.value(new, _VALUE_LIMIT),
    )


def _telling(old: Any, new: Any) -> tuple[Any, Any]:
    if not (isinstance(old, str) and isinstance(new, str) and "\n" in old + new):
        return old, new
    pairs = zip_longest(old.split("\n"), new.split("\n"))
    ours, theirs = next((pair for pair in pairs if pair[0] != pair[1]), ("", ""))
    return _stripped(ours), _stripped(theirs)


def _stripped(line: str | None) -> Any:
    return msgspec.UNSET if line is None else line.strip()


def past(operation: str) -> str:
    """Return what was done, as a verb."""
    return _PAST.get(operation, plain.one_line(operation.lower(), 20))


def tone(operation: str) -> str:
    """Return the class that an operation is shown in: one of a fixed few, whatever the entry says."""
    return operation.lower() if operation in _PAST else "update"


def short_user(username: str) -> str:
    """Leave out what every service account's name begins with; someone without a name is nobody."""
    return plain.one_line(username.removeprefix(_SERVICE_ACCOUNT), _NAME_LIMIT)


def short_path(path: str) -> str:
    """Return the last two steps of a path, enough to know it by."""
    steps = _STEP.findall(path)
    if len(steps) > 2:  # noqa: PLR2004  see above
        path = "…" + "".join(steps[-2:]).removeprefix(".")
    return plain.one_line(path, _NAME_LIMIT)


def object_page(resource: Resource) -> str:
    """Return where the page of an object is, relative to the first page; empty for what cannot be addressed."""
    parts = (resource.kind, resource.namespace or "-", resource.name)
    if any(part in _UNADDRESSABLE or not part.isprintable() for part in parts):
        return ""
    return "objects/" + "/".join(quote(part, safe="") for part in parts)


def age(moment: str, now: datetime | None = None) -> str:
    """Return how long ago an RFC 3339 time was, as kubectl does: 45s, 12m, 3h, 8d; empty for what is no time."""
    try:
        return duration(((now or datetime.now(UTC)) - datetime.fromisoformat(moment)).total_seconds())
    except (ValueError, TypeError):
        return ""


def duration(length: float) -> str:
    """Return a time in seconds as kubectl does: 45s, 12m, 3h, 8d."""
    seconds = max(0, int(length))
    for limit, unit, letter in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit}{letter}"
    return f"{seconds // 86400}d"


def number(count: int) -> str:
    """Return a count as people read it: 12,345."""
    return f"{count:,}"
