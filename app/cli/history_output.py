"""How an object's story, its blame and its differences are printed for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.cli.output import SHORT_ID, age, change_text, local
from app.core import text as plain
from app.core.blame import Blame
from app.core.change import FieldChange
from app.core.history import Chapter, Life

_FIELDS: Final = 5
"""Changed fields that a line of the story shows; `kubewitness entries show` has them all."""

_NAME_LIMIT: Final = 80
_VALUE_LIMIT: Final = 60
_NARROW: Final = 110
"""Below so many columns of a terminal the times of a story are left out; their ages stay."""

_EVENT_STYLES: Final = {
    "created": "green",
    "recreated": "bold green",
    "changed": "yellow",
    "deleted": "red",
    "connected": "magenta",
    "failed": "bold red",
}
_ORIGINS: Final = {"before": "before the ledger", "unseen": "changed unseen"}


def story_table(lives: Sequence[Life], *, width: int) -> Table:
    """Return the chapters of all lives as a table, oldest first; a new life begins after a line of its own."""
    is_wide = width >= _NARROW
    headers = ("ID", "AGE", *(("WHEN",) if is_wide else ()), "USER", "EVENT", "CHANGE")
    table = _table(headers)
    now = datetime.now(UTC)
    for number, life in enumerate(lives):
        if number:
            table.add_row(*[Text("─" * 4 if header == "ID" else "", style="dim") for header in headers])
        for chapter in life.chapters:
            entry = chapter.entry
            table.add_row(
                entry.id[:SHORT_ID],
                age(entry.at, now),
                *((local(entry.at)[:-6],) if is_wide else ()),
                _user(entry.user.username, entry.actor.kind),
                _event(chapter),
                _fields(entry.changes),
            )
    return table


def blame_table(found: Iterable[Blame]) -> Table:
    """Return fields as a table, one line each: who set it last, when, what it is and what it was."""
    table = _table(("ID", "AGE", "USER", "FIELD", "VALUE", "WAS"))
    now = datetime.now(UTC)
    for each in found:
        is_known = each.entry_id is not None
        table.add_row(
            Text((each.entry_id or "")[:SHORT_ID]),
            age(each.at, now) if is_known else "",
            _user(each.user, each.actor) if is_known else Text(_ORIGINS[each.origin], style="dim"),
            Text(plain.one_line(each.path, _NAME_LIMIT * 2), style="bold"),
            Text(plain.value(each.value, _VALUE_LIMIT)),
            Text(plain.value(each.old, _VALUE_LIMIT) if is_known and each.operation == "UPDATE" else "", style="dim"),
        )
    return table


def differences_table(changes: Iterable[FieldChange]) -> RenderableType:
    """Return field changes as a table: path, old in red, new in green."""
    table = _table(("FIELD", "OLD", "NEW"))
    for change in changes:
        table.add_row(
            Text(plain.one_line(change.path, 1000), style="bold"),
            Text(plain.value(change.old), style="red"),
            Text(plain.value(change.new), style="green"),
        )
    return table


def _table(headers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, no_wrap=header in {"ID", "AGE", "WHEN"}, overflow="fold")
    return table


def _user(username: str, kind: str) -> Text:
    name = plain.one_line(username.removeprefix("system:serviceaccount:"), _NAME_LIMIT)
    return Text(name, style="" if kind == "human" else "dim")


def _event(chapter: Chapter) -> Text:
    if chapter.entry.dry_run:
        return Text("tried (dry run)", style="dim")
    if chapter.is_repeat:
        return Text(f"{chapter.event} (repeated)", style="dim")
    subresource = chapter.entry.resource.subresource
    word = f"{chapter.event} {plain.one_line(subresource, _NAME_LIMIT)}".strip()
    return Text(word, style=_EVENT_STYLES.get(chapter.event, "dim"))


def _fields(changes: Sequence[FieldChange]) -> RenderableType:
    lines = [change_text(change, limit=_VALUE_LIMIT, path=change.path) for change in changes[:_FIELDS]]
    if len(changes) > _FIELDS:
        lines.append(Text(f"+{len(changes) - _FIELDS} more", style="dim"))
    return Group(*lines)
