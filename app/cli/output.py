"""How lists and entries are printed: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer
import yaml
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from app.core import text as plain
from app.core.change import Entry, FieldChange
from app.core.delivery import Delivery
from app.core.finding import Block, DiffBlock, Finding, JsonBlock
from app.settings import Settings
from app.sinks.stdout import renderable

Format = Literal["table", "json", "yaml"]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="For people, or for programs.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the journal.", envvar="KUBEWITNESS_DATA_DIR")
]

SHORT_ID: Final = 18
"""Characters of an id that tell entries of one journal apart: the time and the counter of the UUIDv7."""

_PIPE_WIDTH: Final = 400
"""Columns where no terminal says how many there are: no line of a list is longer."""

_NAME_LIMIT: Final = 80
_MESSAGE_LIMIT: Final = 120
"""Characters of one cell of a list: strangers choose names, and none may push the other columns away."""

_COLUMNS: Final = {"ID": SHORT_ID, "AGE": 4, "USER": 12, "OPERATION": 9, "OBJECT": 28, "CHANGE": 0}
_NARROW: Final = 110
"""Below so many columns of a terminal object and change share one column, each on its own line."""

_INVISIBLE: Final = re.compile(r"[^\n -~]")
_STEP: Final = re.compile(r"\.?[^.\[\]]+(?:\[(?:[^\]\\]|\\.)*\])*|\[(?:[^\]\\]|\\.)*\]")
"""A step of a written path with the brackets that follow it."""

_OPERATION_STYLES: Final = {"CREATE": "green", "UPDATE": "yellow", "DELETE": "red", "CONNECT": "magenta"}
_STATE_STYLES: Final = {"pending": "yellow", "delivered": "green", "dead": "bold red", "withheld": "dim"}


def console() -> Console:
    """Return the console of standard output: colours on a terminal, plain and unwrapped text in a pipe."""
    terminal = sys.stdout.isatty()
    width = None if terminal else _PIPE_WIDTH
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not terminal, width=width)


def journal_path(data_dir: Path | None) -> Path:
    """Return the journal in the given or the configured folder."""
    from app.store.database import FILE_NAME  # noqa: PLC0415  keeps `--help` quick

    return (data_dir or Settings().data_dir) / FILE_NAME


def print_documents(documents: Any, output: Format) -> None:
    """Print JSON (indented) or YAML."""
    if output == "json":
        print(harmless_json(msgspec.json.format(msgspec.json.encode(documents), indent=2)), flush=True)
    else:
        _print_yaml(documents, begins=False)


def print_in_stream(document: Any, output: Format) -> None:
    """Print one document of a stream without an end: JSON on one line, YAML after its `---`."""
    if output == "json":
        print(harmless_json(msgspec.json.encode(document)), flush=True)
    else:
        _print_yaml(document, begins=True)


def _print_yaml(document: Any, *, begins: bool) -> None:
    plain_data = msgspec.to_builtins(document)
    yaml.safe_dump(plain_data, sys.stdout, sort_keys=False, allow_unicode=False, explicit_start=begins)
    sys.stdout.flush()


def harmless_json(document: bytes) -> str:
    """Return the same JSON with what a terminal could obey, or nobody could see, written as escapes."""
    return _INVISIBLE.sub(_escaped, document.decode())


def _escaped(found: re.Match[str]) -> str:
    # JSON leaves DEL, the controls of ISO 6429 above ASCII, and the marks that turn the direction of text as they are.
    return found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1]


def age(moment: str, now: datetime) -> str:
    """Return how long ago an RFC 3339 time was, as kubectl does: 45s, 12m, 3h, 8d."""
    seconds = max(0, int((now - datetime.fromisoformat(moment)).total_seconds()))
    for limit, unit, letter in ((120, 1, "s"), (7200, 60, "m"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds // unit}{letter}"
    return f"{seconds // 86400}d"


def local(moment: str) -> str:
    """Return an RFC 3339 time in the local zone, to the second."""
    return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")


def entries_table(entries: Sequence[Entry], *, width: int, header: bool = True) -> Table:
    """Return entries as a table: one line each, or two where that many columns leave too little of the change.

    Without a header the columns have a fixed least width, so that tables of one entry each stand below each other.
    """
    now, is_narrow = datetime.now(UTC), width < _NARROW
    table = Table(box=None, pad_edge=False, header_style="bold", show_header=header)
    for name, least in _COLUMNS.items():
        if name != "CHANGE" or not is_narrow:
            table.add_column(name, no_wrap=name in {"ID", "AGE"}, min_width=None if header else least)
    for entry in entries:
        details = [_cell(_object(entry)), _summary(entry)]
        table.add_row(
            entry.id[:SHORT_ID],
            age(entry.at, now),
            _cell(_short_user(entry.user.username)),
            _operation(entry, "\n" if is_narrow else " "),
            *([Group(*filter(None, details))] if is_narrow else details),
        )
    return table


def _cell(text: str) -> Text:
    """Return one harmless line, which gives way where the terminal is narrow."""
    return Text(plain.one_line(text, _NAME_LIMIT), no_wrap=True, overflow="ellipsis")


def _short_user(username: str) -> str:
    """Leave out what every service account's name begins with."""
    return username.removeprefix("system:serviceaccount:")


def _short_path(path: str) -> str:
    """Return the last two steps of a path, enough to know it by."""
    steps = _STEP.findall(path)
    return path if len(steps) <= 2 else "…" + "".join(steps[-2:]).removeprefix(".")  # noqa: PLR2004  see above


def _operation(entry: Entry, separator: str) -> Text:
    word = entry.operation + (f"{separator}(dry run)" if entry.dry_run else "")
    return Text(word, style="dim" if entry.dry_run else _OPERATION_STYLES.get(entry.operation, ""))


def _object(entry: Entry) -> str:
    return f"{entry.resource}/{entry.resource.subresource}" if entry.resource.subresource else str(entry.resource)


def _summary(entry: Entry) -> Text:
    if not entry.changes:
        return Text("(too large to be read)" if entry.truncated is True else "", style="dim")
    first, others = entry.changes[0], len(entry.changes) - 1
    text = change_text(first, limit=48, path=_short_path(first.path))
    if others:
        text.append(f"  +{others} more", style="dim")
    return text


def change_text(change: FieldChange, limit: int, path: str) -> Text:
    """Return one field change on one line: path, old in red, new in green."""
    return Text.assemble(
        (plain.one_line(path, _NAME_LIMIT), "bold"),
        ": ",
        (plain.value(change.old, limit), "red"),
        " → ",
        (plain.value(change.new, limit), "green"),
        no_wrap=True,
        overflow="ellipsis",
    )


def entry_details(entry: Entry, findings: Sequence[Finding], deliveries: Sequence[Delivery]) -> RenderableType:
    """Return everything about one entry: who, what, how, the field changes, findings and deliveries.

    Of the findings' blocks those are left out that repeat the entry: field changes, and the object.
    """
    facts = Table.grid(padding=(0, 2))
    rows = {
        "id": entry.id,
        "when": f"{local(entry.at)} ({age(entry.at, datetime.now(UTC))} ago)",
        "cluster": entry.cluster,
        "what": f"{entry.operation} {_object(entry)}" + (" (dry run: nothing was stored)" if entry.dry_run else ""),
        "who": f"{entry.user.username} ({entry.actor.kind})",
        "groups": ", ".join(entry.user.groups),
        "how": " ".join(part for part in (entry.field_manager, entry.actor.manager_operation) if part),
        "from": " on node ".join(part for part in (entry.actor.pod, entry.actor.node) if part),
        "repeats": entry.repeat_of or "",
        "follows": entry.story or "",
        "note": "the review was too large to be read whole" if entry.truncated is True else "",
    }
    for name, value in rows.items():
        if value:
            facts.add_row(Text(name, style="dim"), Text(plain.one_line(value, 1000)))
    parts: list[RenderableType] = [facts]
    if entry.changes:
        parts += [Text(""), _changes_table(entry.changes)]
    if entry.findings:
        parts += [Text(""), _findings_table(entry)]
    for block in _evidence(findings):
        parts += [Text(""), renderable(block)]
    if deliveries:
        parts += [Text(""), deliveries_table(deliveries)]
    return Group(*parts)


def _evidence(findings: Sequence[Finding]) -> Iterator[Block]:
    """Yield each block once that says more than the entry, such as the logs of a failed Job."""
    shown: list[Block] = []
    for block in (block for finding in findings for block in finding.blocks):
        if not isinstance(block, DiffBlock | JsonBlock) and block not in shown:
            shown.append(block)
            yield block


def _changes_table(changes: Sequence[FieldChange]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("FIELD", "OLD", "NEW"):
        table.add_column(header, overflow="fold")
    for change in changes:
        table.add_row(
            Text(plain.one_line(change.path, 1000), style="bold"),
            Text(plain.value(change.old), style="red"),
            Text(plain.value(change.new), style="green"),
        )
    return table


def _findings_table(entry: Entry) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("PLAYBOOK", "SEVERITY", "FINDING"):
        table.add_column(header, overflow="fold")
    for finding in entry.findings:
        table.add_row(plain.one_line(finding.playbook), finding.severity, plain.one_line(finding.title))
    return table


def deliveries_table(deliveries: Sequence[Delivery]) -> Table:
    """Return deliveries as a table, one line each."""
    now = datetime.now(UTC)
    table = Table(box=None, pad_edge=False, header_style="bold")
    # Who is not told has no error, but a reason.
    why = "REASON" if any(delivery.state == "withheld" for delivery in deliveries) else "LAST ERROR"
    for header in ("DELIVERY", "AGE", "SINK", "STATE", "ATTEMPTS", "FINDING", why):
        table.add_column(header, no_wrap=header in {"DELIVERY", "AGE", "STATE"}, overflow="fold")
    for delivery in deliveries:
        table.add_row(
            str(delivery.id),
            age(delivery.created_at, now),
            plain.one_line(delivery.sink, _NAME_LIMIT),
            Text(delivery.state, style=_STATE_STYLES[delivery.state]),
            str(delivery.attempts),
            plain.one_line(delivery.title, _NAME_LIMIT),
            plain.one_line(delivery.last_error, _MESSAGE_LIMIT),
        )
    return table
