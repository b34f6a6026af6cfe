"""How an undo is shown: what would change, what nobody can make sure of, and the line that does the same."""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any, Final

import yaml
from rich.console import Console
from rich.text import Text

from app.cli.output import view
from app.cli.tables import differences, object_name
from app.cli.times import age, local
from app.core import text as plain
from app.core.change import Entry
from app.core.raw import items, string
from app.core.undo import Undo

_LIMIT: Final = 1000


def show(screen: Console, entry: Entry, undo: Undo) -> None:
    """Print what undoing an entry would do."""
    screen.print(_headline(entry, undo))
    if undo.changes:
        screen.print()
        screen.print(differences(undo.changes, view(), ("NOW", "THEN")))
    if isinstance(undo.object, dict):
        screen.print()
        for line in _yaml(undo.object):
            screen.print(Text(line, style="green"), soft_wrap=True)
    for caution in undo.cautions:
        screen.print()
        screen.print(Text.assemble(("note: ", "bold yellow"), plain.one_line(caution, _LIMIT)))


def show_command(screen: Console, undo: Undo) -> None:
    """Print the line that does it, unbroken, however narrow the terminal is."""
    screen.print()
    screen.print(Text("with --apply this is done; or by:", style="dim"))
    screen.print(Text(undo.command), soft_wrap=True)


def outcome(undo: Undo, answer: dict[str, Any]) -> str:
    """Say what the API server made of it."""
    thing = plain.one_line(str(undo.resource))
    match undo.action:
        case "create":
            return f"{thing} is created again, with the uid {_said(answer, 'uid')}"
        case "delete" if finalizers := items(answer, "metadata", "finalizers"):
            names = ", ".join(map(str, finalizers))
            return f"{thing} is being deleted; its finalizers hold it: {plain.one_line(names)}"
        case "delete":
            return f"{thing} is deleted"
    return f"{thing} is as it was before this change, at the resource version {_said(answer, 'resourceVersion')}"


def _said(answer: dict[str, Any], field: str) -> str:
    return plain.one_line(string(answer, "metadata", field)) or "(none)"


def _headline(entry: Entry, undo: Undo) -> Text:
    when = f"{local(entry.at)} ({age(entry.at, view().now)} ago)"
    who = plain.one_line(entry.user.username) or "nobody"
    what = f"{entry.operation} {object_name(entry)}{f' in {entry.cluster}' if entry.cluster else ''}"
    verb = {"patch": "changes it back", "create": "creates it again", "delete": "deletes it"}[undo.action]
    return Text(plain.one_line(f"{what} by {who}, {when}: undoing {verb}", _LIMIT), style="bold")


def _yaml(document: dict[str, Any]) -> Iterator[str]:
    written = StringIO()
    yaml.safe_dump(document, written, sort_keys=False, allow_unicode=False)
    yield from written.getvalue().splitlines()
