"""Entries and deliveries as tables: a line for each on a wide terminal and in a pipe, some lines on a narrow one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from app.cli.output import View
from app.core import text as plain
from app.core.change import Entry, FieldChange
from app.core.delivery import Delivery

SHORT_ID: Final = 18
"""Characters of an id that tell entries of one journal apart: the time and the counter of the UUIDv7."""

NAME_LIMIT: Final = 80
MESSAGE_LIMIT: Final = 120
"""Characters of one cell of a list: strangers choose names, and none may push the other columns away."""

_VALUE_LIMIT: Final = 48
_INDENTED: Final = (0, 0, 0, 2)
USER_LIMIT: Final = 30
_NARROW_USER: Final = 20
_STEP: Final = re.compile(r"\.?[^.\[\]]+(?:\[(?:[^\]\\]|\\.)*\])*|\[(?:[^\]\\]|\\.)*\]")
"""A step of a written path with the brackets that follow it."""

_OPERATION_STYLES: Final = {
    "CREATE": "green",
    "UPDATE": "yellow",
    "DELETE": "red",
    "CONNECT": "magenta",
    "FAILED": "bold red",
}
_STATE_STYLES: Final = {"pending": "yellow", "delivered": "green", "dead": "bold red", "withheld": "dim"}
_LEAST: Final = {"ID": SHORT_ID, "AGE": 4, "WHEN": 15, "USER": 30, "OPERATION": 9, "OBJECT": 28}
"""Columns of a table of one entry, so that such tables stand below each other."""


def table_of(headers: Sequence[str], *, is_headed: bool = True) -> Table:
    """Return an empty table without lines between its cells."""
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=is_headed)
    for header in headers:
        is_fixed = header in {"ID", "AGE", "WHEN", "DELIVERY", "STATE"}
        least = None if is_headed else _LEAST.get(header)
        table.add_column(header, no_wrap=is_fixed, overflow="fold", min_width=least)
    return table


def time_header(view: View) -> str:
    """Return what the column of times is called."""
    return "AGE" if view.width is None else "WHEN"


def cell(text: str, limit: int, style: str = "") -> Text:
    """Return one harmless line, which gives way where the terminal is narrow."""
    return Text(plain.one_line(text, limit), style=style, no_wrap=True, overflow="ellipsis")


def stacked(*lines: RenderableType) -> Group:
    """Return lines of one cell; those that are empty are left out."""
    return Group(*(each for each in lines if not isinstance(each, Text) or each))


def entries_table(entries: Iterable[Entry], view: View, *, header: bool = True) -> Table:
    """Return entries as a table. Without a header its columns have a least width, so that rows of several align."""
    table = table_of(_headers(view), is_headed=header)
    row = _narrow_row if view.is_narrow else _row if view.is_wide else _medium_row
    for entry in entries:
        table.add_row(*row(entry, view))
    return table


def _headers(view: View) -> tuple[str, ...]:
    if view.is_wide:
        return ("ID", time_header(view), "USER", "OPERATION", "OBJECT", "CHANGE")
    return ("ID", "WHAT") if view.is_narrow else ("ID", "USER", "OBJECT")


def _row(entry: Entry, view: View) -> list[RenderableType]:
    return [
        Text(entry.id[:SHORT_ID]),
        view.time(entry.at),
        user(entry.user.username, entry.actor.kind, view.limit(USER_LIMIT)),
        _operation(entry),
        cell(object_name(entry), view.limit(NAME_LIMIT)),
        _summary(entry, view),
    ]


def _medium_row(entry: Entry, view: View) -> list[RenderableType]:
    who = user(entry.user.username, entry.actor.kind, USER_LIMIT)
    room = (view.width or 0) - SHORT_ID - USER_LIMIT - 4
    return [
        _id_and_time(entry, view),
        # The operation keeps its line where nobody did it.
        Group(who, _operation(entry)),
        stacked(cell(object_name(entry), NAME_LIMIT), _summary(entry, view, room)),
    ]


def _narrow_row(entry: Entry, view: View) -> list[RenderableType]:
    what = Text.assemble(_operation(entry), " ", plain.one_line(object_name(entry), NAME_LIMIT))
    who = user(entry.user.username, entry.actor.kind, _NARROW_USER)
    summary = _summary(entry, view, (view.width or 0) - SHORT_ID - len(who) - 4)
    told = Text.assemble(who, ": " if who and summary else "", summary)
    for text in (what, told):
        text.no_wrap, text.overflow = True, "ellipsis"
    return [_id_and_time(entry, view), stacked(what, told)]


def _id_and_time(entry: Entry, view: View) -> Group:
    return Group(Text(entry.id[:SHORT_ID]), Text(view.time(entry.at), style="dim"))


def user(username: str, kind: str, limit: int = NAME_LIMIT) -> Text:
    """Return who it was, without what every service account's name begins with; programs are dim."""
    name = username.removeprefix("system:serviceaccount:")
    return cell(name, limit, "" if kind == "human" else "dim")


def _operation(entry: Entry) -> Text:
    word = plain.one_line(entry.operation) + (" (dry run)" if entry.dry_run else "")
    return Text(word, style="dim" if entry.dry_run else _OPERATION_STYLES.get(entry.operation, ""))


def object_name(entry: Entry) -> str:
    """Return kind, namespace, name, and the subresource where there is one."""
    return f"{entry.resource}/{entry.resource.subresource}" if entry.resource.subresource else str(entry.resource)


def _summary(entry: Entry, view: View, room: int | None = None) -> Text:
    """Return the first change, and how many more there are: in so many columns, where that is known."""
    if not entry.changes:
        return Text("(too large to be read)" if entry.truncated is True else "", style="dim")
    first, others = entry.changes[0], len(entry.changes) - 1
    path = first.path if view.width is None else _short_path(first.path)
    text = change_text(first, limit=view.limit(_VALUE_LIMIT), path=path, path_limit=view.limit(NAME_LIMIT))
    more = f"  +{others} more" if others else ""
    if room is not None:
        text.truncate(max(room - len(more), 0), overflow="ellipsis")
    text.append(more, style="dim")
    return text


def _short_path(path: str) -> str:
    """Return the last two steps of a path, enough to know it by."""
    steps = _STEP.findall(path)
    return path if len(steps) <= 2 else "…" + "".join(steps[-2:]).removeprefix(".")  # noqa: PLR2004  see above


def change_text(change: FieldChange, limit: int, path: str, path_limit: int = NAME_LIMIT) -> Text:
    """Return one field change on one line: path, old in red, new in green."""
    return Text.assemble(
        (plain.one_line(path, path_limit), "bold"),
        ": ",
        (plain.value(change.old, limit), "red"),
        " → ",
        (plain.value(change.new, limit), "green"),
        no_wrap=True,
        overflow="ellipsis",
    )


def differences(changes: Iterable[FieldChange], view: View, headers: Sequence[str] = ("OLD", "NEW")) -> RenderableType:
    """Return field changes: path, old in red, new in green; on a narrow terminal below each other."""
    if view.is_narrow:
        return Group(*(line for change in changes for line in _below_each_other(change)))
    table = table_of(("FIELD", *headers))
    for change in changes:
        table.add_row(_path(change), Text(plain.value(change.old), "red"), Text(plain.value(change.new), "green"))
    return table


def _below_each_other(change: FieldChange) -> list[RenderableType]:
    return [
        _path(change),
        Padding(Text.assemble("- ", plain.value(change.old), style="red"), _INDENTED),
        Padding(Text.assemble("+ ", plain.value(change.new), style="green"), _INDENTED),
    ]


def _path(change: FieldChange) -> Text:
    return Text(plain.one_line(change.path, 1000), style="bold")


def deliveries_table(deliveries: Sequence[Delivery], view: View) -> Table:
    """Return deliveries as a table."""
    # Who is not told has no error, but a reason.
    why = "REASON" if any(delivery.state == "withheld" for delivery in deliveries) else "LAST ERROR"
    wide = ("DELIVERY", time_header(view), "SINK", "STATE", "ATTEMPTS", "FINDING", why)
    table = table_of(("DELIVERY", "WHEN", "STATE", "WHAT") if view.is_narrow else wide)
    row: Callable[[Delivery, View], list[RenderableType]] = _narrow_delivery if view.is_narrow else _delivery
    for delivery in deliveries:
        table.add_row(*row(delivery, view))
    return table


def _delivery(delivery: Delivery, view: View) -> list[RenderableType]:
    return [
        str(delivery.id),
        view.time(delivery.created_at),
        Text(plain.one_line(delivery.sink, view.limit(NAME_LIMIT))),
        _state(delivery),
        str(delivery.attempts),
        Text(plain.one_line(delivery.title, view.limit(NAME_LIMIT))),
        Text(plain.one_line(delivery.last_error, view.limit(MESSAGE_LIMIT))),
    ]


def _narrow_delivery(delivery: Delivery, view: View) -> list[RenderableType]:
    times = f" after {delivery.attempts} attempts" if delivery.attempts > 1 else ""
    sink = Text.assemble((plain.one_line(delivery.sink, NAME_LIMIT), "bold"), times, ": ")
    sink.append(plain.one_line(delivery.title, NAME_LIMIT))
    error = Text(plain.one_line(delivery.last_error, MESSAGE_LIMIT), style="dim")
    return [str(delivery.id), view.time(delivery.created_at), _state(delivery), stacked(sink, error)]


def _state(delivery: Delivery) -> Text:
    return Text(delivery.state, style=_STATE_STYLES[delivery.state])
