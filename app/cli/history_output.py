"""How an object's story and its blame are printed for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from app.cli.output import View
from app.cli.tables import NAME_LIMIT, SHORT_ID, USER_LIMIT, change_text, stacked, table_of, time_header, user
from app.cli.times import local
from app.core import text as plain
from app.core.blame import Blame
from app.core.change import FieldChange
from app.core.history import Chapter, Life

_FIELDS: Final = 5
"""Changed fields that a chapter of the story shows on a terminal; `kubewitness entries show` has them all."""

_VALUE_LIMIT: Final = 60

_EVENT_STYLES: Final = {
    "created": "green",
    "recreated": "bold green",
    "changed": "yellow",
    "deleted": "red",
    "connected": "magenta",
    "failed": "bold red",
}
_ORIGINS: Final = {"before": "before the ledger", "unseen": "changed unseen"}


def story_table(lives: Sequence[Life], view: View) -> Table:
    """Return the chapters of all lives as a table, oldest first; a new life begins after a line of its own."""
    wide = ("ID", *(("AGE", "WHEN") if view.width is None else ("WHEN",)), "USER", "EVENT", "CHANGE")
    headers = wide if view.is_wide else ("ID", "WHAT")
    table = table_of(headers)
    row = _chapter if view.is_wide else _narrow_chapter
    for number, life in enumerate(lives):
        if number:
            table.add_row(*[Text("─" * 4 if header == "ID" else "", style="dim") for header in headers])
        for chapter in life.chapters:
            table.add_row(*row(chapter, view))
    return table


def _chapter(chapter: Chapter, view: View) -> list[RenderableType]:
    entry = chapter.entry
    return [
        Text(entry.id[:SHORT_ID]),
        view.time(entry.at),
        *((local(entry.at)[:-6],) if view.width is None else ()),
        user(entry.user.username, entry.actor.kind),
        _event(chapter),
        stacked(*_fields(entry.changes, view)),
    ]


def _narrow_chapter(chapter: Chapter, view: View) -> list[RenderableType]:
    entry = chapter.entry
    who = user(entry.user.username, entry.actor.kind)
    head = Text.assemble(_event(chapter), " by " if who else "", who, no_wrap=True, overflow="ellipsis")
    return [
        stacked(Text(entry.id[:SHORT_ID]), Text(view.time(entry.at), style="dim")),
        stacked(head, *_fields(entry.changes, view)),
    ]


def blame_table(found: Iterable[Blame], view: View) -> Table:
    """Return fields as a table: who set it last, when, what it is and what it was."""
    table = table_of(("ID", "FIELD") if view.is_narrow else ("ID", time_header(view), "USER", "FIELD", "VALUE", "WAS"))
    row = _narrow_field if view.is_narrow else _field
    for each in found:
        table.add_row(*row(each, view))
    return table


def _field(each: Blame, view: View) -> list[RenderableType]:
    return [
        Text((each.entry_id or "")[:SHORT_ID]),
        _time(each, view),
        _setter(each, view),
        Text(plain.one_line(each.path, view.limit(NAME_LIMIT * 2)), style="bold"),
        Text(plain.value(each.value, view.limit(_VALUE_LIMIT))),
        Text(_was(each, view), style="dim"),
    ]


def _narrow_field(each: Blame, view: View) -> list[RenderableType]:
    value = Text.assemble(
        (plain.one_line(each.path, NAME_LIMIT * 2), "bold"), ": ", plain.value(each.value, _VALUE_LIMIT)
    )
    was = _was(each, view)
    who = Text.assemble(_setter(each, view), (f", was {was}" if was else "", "dim"), no_wrap=True, overflow="ellipsis")
    return [stacked(Text((each.entry_id or "")[:SHORT_ID]), Text(_time(each, view), style="dim")), stacked(value, who)]


def _time(each: Blame, view: View) -> str:
    return view.time(each.at) if each.entry_id is not None else ""


def _setter(each: Blame, view: View) -> Text:
    if each.entry_id is None:
        return Text(_ORIGINS[each.origin], style="dim")
    return user(each.user, each.actor, view.limit(USER_LIMIT))


def _was(each: Blame, view: View) -> str:
    is_known = each.entry_id is not None and each.operation == "UPDATE"
    return plain.value(each.old, view.limit(_VALUE_LIMIT)) if is_known else ""


def _event(chapter: Chapter) -> Text:
    if chapter.entry.dry_run:
        return Text("tried (dry run)", style="dim")
    if chapter.is_repeat:
        return Text(f"{chapter.event} (repeated)", style="dim")
    subresource = chapter.entry.resource.subresource
    word = f"{chapter.event} {plain.one_line(subresource, NAME_LIMIT)}".strip()
    return Text(word, style=_EVENT_STYLES.get(chapter.event, "dim"))


def _fields(changes: Sequence[FieldChange], view: View) -> list[Text]:
    most = _FIELDS if view.width is not None else len(changes)
    limit, path_limit = view.limit(_VALUE_LIMIT), view.limit(NAME_LIMIT)
    lines = [change_text(change, limit, change.path, path_limit) for change in changes[:most]]
    if len(changes) > most:
        lines.append(Text(f"+{len(changes) - most} more", style="dim"))
    return lines
