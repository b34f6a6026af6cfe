"""`kubewitness entries`: read the ledger in a terminal."""

from __future__ import annotations

import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import msgspec
import typer
from rich.text import Text

from app.cli.failures import FAILED, complain, told
from app.cli.output import (
    DataDirOption,
    Format,
    OutputOption,
    console,
    entries_table,
    entry_details,
    journal_path,
    print_documents,
    print_in_stream,
)
from app.core.change import Entry
from app.core.identity import first_sequence_at
from app.core.kinds import canonical
from app.core.moments import milliseconds, parse_moment
from app.core.paths import compile_pattern
from app.store.ledger import Ledger, Position, Query

entries_app = typer.Typer(no_args_is_help=True, help="List, show and follow what was recorded.")

_FOLLOW_SECONDS: Final = 0.5
_AT_ONCE: Final = 500
"""Entries that are read together while the ledger is followed."""

_entry: Final = msgspec.json.Decoder(Entry)

Kind = Annotated[str, typer.Option("--kind", "-k", help="Kind, such as Deployment.")]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the object.")]
Name = Annotated[str, typer.Option("--name", help="Name of the object.")]
User = Annotated[str, typer.Option("--user", "-u", help="User name.")]
Operation = Annotated[
    Literal["CREATE", "UPDATE", "DELETE", "CONNECT", "FAILED"] | None,
    typer.Option("--operation", help="What was done, in any case; FAILED shows failed Jobs.", case_sensitive=False),
]
ActorOption = Annotated[
    Literal["human", "controller"] | None, typer.Option("--actor", help="Who made the change.", case_sensitive=False)
]
PathPattern = Annotated[str, typer.Option("--path", help="Field that changed: images, spec.replicas, env[*].value ...")]
Since = Annotated[str, typer.Option("--since", help="Not older than: 2h, 7d, yesterday, a date or RFC 3339.")]
Until = Annotated[str, typer.Option("--until", help="Older than; written as for --since.")]
Contains = Annotated[str, typer.Option("--query", "-q", help="Text anywhere in the entry.")]


def _moment(text: str, option: str) -> int | None:
    if not text:
        return None
    try:
        now = datetime.now().astimezone()
        return milliseconds(parse_moment(text, now, now.tzinfo or UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _pattern(text: str) -> str:
    try:
        return compile_pattern(text).text if text else ""
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--path") from error


def _wanted(kind: str, namespace: str, name: str, user: str, operation: str | None, path: str, query: str) -> Query:
    return Query(
        kind=canonical(kind),
        namespace=namespace,
        name=name,
        username=user,
        operation=operation or "",
        path=_pattern(path),
        q=query,
    )


def _read(documents: list[Any]) -> list[Entry]:
    return [_entry.decode(document) for document in documents]


@entries_app.command("list")
def list_entries(
    kind: Kind = "",
    namespace: Namespace = "",
    name: Name = "",
    user: User = "",
    operation: Operation = None,
    actor: ActorOption = None,
    path: PathPattern = "",
    since: Since = "",
    until: Until = "",
    query: Contains = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")] = 50,
    output: OutputOption = "table",
    data_dir: DataDirOption = None,
) -> None:
    """List entries, newest first."""
    wanted = msgspec.structs.replace(
        _wanted(kind, namespace, name, user, operation, path, query),
        actor=actor or "",
        since=_moment(since, "--since"),
        until=_moment(until, "--until"),
    )
    with told(), closing(Ledger(journal_path(data_dir))) as ledger:
        found, before = list[Any](), None
        while len(found) < limit:
            page = ledger.search(wanted, limit=limit - len(found), before=before)
            found.extend(page.items)
            before = page.next
            if before is None:
                break
    entries = _read(found)
    if output != "table":
        print_documents(entries, output)
    elif entries:
        screen = console()
        screen.print(entries_table(entries, width=screen.width))
    else:
        console().print(Text("no entries match" if wanted != Query() else "the ledger is empty", style="dim"))


@entries_app.command()
def show(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the entry, or its beginning as listed.")],
    output: OutputOption = "table",
    data_dir: DataDirOption = None,
) -> None:
    """Show one entry: who, what, how, every field's old and new value, what was found, and who was told."""
    with told(), closing(Ledger(journal_path(data_dir))) as ledger:
        try:
            found = ledger.find(entry_id)
        except ValueError as error:
            raise typer.BadParameter(str(error), param_hint="ID") from error
        if len(found) != 1:
            number, remedy = ("several", "; write more of it") if found else ("no", "")
            complain(f"{number} entries begin with {entry_id!r}{remedy}")
            raise typer.Exit(FAILED)
        entry = _entry.decode(found[0])
        record = ledger.record(entry.id)
        findings, deliveries = (record.findings, record.deliveries) if record else ([], [])
    if output == "table":
        console().print(entry_details(entry, findings, deliveries))
    else:
        beside = {"findings": msgspec.to_builtins(findings), "deliveries": deliveries}
        print_documents(msgspec.to_builtins(entry) | beside, output)


@entries_app.command()
def tail(
    kind: Kind = "",
    namespace: Namespace = "",
    name: Name = "",
    user: User = "",
    operation: Operation = None,
    actor: ActorOption = None,
    path: PathPattern = "",
    since: Since = "",
    query: Contains = "",
    output: OutputOption = "table",
    data_dir: DataDirOption = None,
) -> None:
    """Follow the ledger: print entries as they come, until interrupted.

    JSON comes as one line for each entry, YAML as one document for each.
    """
    wanted = msgspec.structs.replace(_wanted(kind, namespace, name, user, operation, path, query), actor=actor or "")
    started = _moment(since, "--since")
    with told(), closing(Ledger(journal_path(data_dir))) as ledger:
        position = Position(ledger.newest() if started is None else first_sequence_at(started) - 1)
        try:
            while True:
                before = position
                position, found = ledger.follow(wanted, before, _AT_ONCE)
                for entry in _read(found):
                    _print_one(entry, output)
                if position == before:
                    time.sleep(_FOLLOW_SECONDS)
        except KeyboardInterrupt:
            return


def _print_one(entry: Entry, output: Format) -> None:
    if output == "table":
        screen = console()
        screen.print(entries_table([entry], width=screen.width, header=False))
    else:
        print_in_stream(entry, output)
