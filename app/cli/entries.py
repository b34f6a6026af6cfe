"""`kubewitness entries`: read the ledger in a terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC
from typing import Annotated, Any, Final, Literal

import msgspec
import typer
from rich.text import Text

from app.cli import output as out
from app.cli.command import Command
from app.cli.completion import complete_kinds, completing
from app.cli.details import entry_details
from app.cli.failures import told
from app.cli.output import Format, OutputOption
from app.cli.recorded import recorded
from app.cli.source import source as opened
from app.cli.source_options import SourceOptions, reads_ledger
from app.cli.tables import entries_table
from app.cli.times import clock
from app.core.change import Entry
from app.core.identity import first_sequence_at
from app.core.kinds import canonical
from app.core.moments import milliseconds, parse_moment
from app.core.paths import compile_pattern
from app.core.text import one_line
from app.remote.transport import RemoteError
from app.store.reading import Position, Reader
from app.store.search.query import Query

entries_app = typer.Typer(no_args_is_help=True, help="List, show and follow what was recorded.")

_FOLLOW_SECONDS: Final = 0.5
_LOST_SECONDS: Final = 2.0
_MAY_PASS: Final = 500
"""A status from here on may be another one later."""

_AT_ONCE: Final = 500
"""Entries that are read together while the ledger is followed."""

_entry: Final = msgspec.json.Decoder(Entry)

Kind = Annotated[str, typer.Option("--kind", "-k", help="Kind, such as Deployment.", autocompletion=complete_kinds)]
Namespace = Annotated[
    str, typer.Option("--namespace", "-n", help="Namespace of the object.", autocompletion=completing("namespace"))
]
Name = Annotated[str, typer.Option("--name", help="Name of the object.", autocompletion=completing("name"))]
User = Annotated[str, typer.Option("--user", "-u", help="User name.", autocompletion=completing("username"))]
Operation = Annotated[
    Literal["CREATE", "UPDATE", "DELETE", "CONNECT", "FAILED"] | None,
    typer.Option("--operation", help="What was done, in any case; FAILED shows failed Jobs.", case_sensitive=False),
]
ActorOption = Annotated[
    Literal["human", "controller"] | None, typer.Option("--actor", help="Who made the change.", case_sensitive=False)
]
PathPattern = Annotated[str, typer.Option("--path", help="Field that changed: images, spec.replicas, env[*].value ...")]
Since = Annotated[
    str, typer.Option("--since", help="Not older than: 2h, 7d, yesterday, monday 9:00, a date or RFC 3339.")
]
Until = Annotated[str, typer.Option("--until", help="Older than; written as for --since.")]
Contains = Annotated[str, typer.Option("--query", "-q", help="Text anywhere in the entry.")]


def moment_option(text: str, option: str) -> int | None:
    """Return a time that a person wrote, None where they wrote none; raises BadParameter."""
    if not text:
        return None
    try:
        now = clock()
        return milliseconds(parse_moment(text, now, now.tzinfo or UTC))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error


def _pattern(text: str) -> str:
    try:
        return compile_pattern(text).text if text else ""
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--path") from error


def wanted_query(
    kind: str, namespace: str, name: str, user: str, operation: str | None, path: str, query: str
) -> Query:
    """Return what the options ask for, times and actor aside; raises BadParameter."""
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
    """Read entries; what a newer version wrote, perhaps, must not hide the others."""
    found = list[Entry]()
    for document in documents:
        try:
            found.append(_entry.decode(document))
        except msgspec.MsgspecError as error:
            typer.echo(f"warning: an entry cannot be read, and is left out: {one_line(str(error))}", err=True)
    return found


@entries_app.command("list", cls=Command)
@reads_ledger
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
    *,
    source: SourceOptions,
) -> None:
    """List entries, newest first."""
    wanted = msgspec.structs.replace(
        wanted_query(kind, namespace, name, user, operation, path, query),
        actor=actor or "",
        since=moment_option(since, "--since"),
        until=moment_option(until, "--until"),
    )
    with told(), closing(opened(source)) as ledger:
        entries = _read(_newest(ledger, wanted, limit))
    if output != "table":
        out.print_documents(entries, output)
    elif entries:
        out.show(entries_table(entries, out.view()))
    else:
        out.show(Text("no entries match" if wanted != Query() else "the ledger is empty", style="dim"))


def _newest(ledger: Reader, wanted: Query, limit: int) -> list[Any]:
    found, before = list[Any](), None
    while len(found) < limit:
        page = ledger.search(wanted, limit=limit - len(found), before=before)
        found.extend(page.items)
        before = page.next
        if before is None:
            break
    return found[:limit]  # entries of several replicas that have one number come together


@entries_app.command(cls=Command)
@reads_ledger
def show(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the entry, or its beginning as listed.")],
    output: OutputOption = "table",
    *,
    source: SourceOptions,
) -> None:
    """Show one entry: who, what, how, every field's old and new value, what was found, and who was told."""
    with told(), closing(opened(source)) as ledger:
        entry = recorded(ledger, entry_id)
        record = ledger.record(entry.id)
    findings, deliveries = (record.findings, record.deliveries) if record else ([], [])
    if output == "table":
        out.show(entry_details(entry, findings, deliveries, out.view()))
    else:
        beside = {"findings": msgspec.to_builtins(findings), "deliveries": deliveries}
        out.print_documents(msgspec.to_builtins(entry) | beside, output)


@entries_app.command(cls=Command)
@reads_ledger
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
    *,
    source: SourceOptions,
) -> None:
    """Follow the ledger: print entries as they come, until interrupted.

    JSON comes as one line for each entry, YAML as one document for each.
    """
    wanted = msgspec.structs.replace(
        wanted_query(kind, namespace, name, user, operation, path, query), actor=actor or ""
    )
    started = moment_option(since, "--since")
    with told(), closing(opened(source)) as ledger:
        position = ledger.position() if started is None else Position(first_sequence_at(started) - 1)
        try:
            for entry in _following(ledger, wanted, position):
                _print_one(entry, output)
        except KeyboardInterrupt:
            return


def _following(ledger: Reader, wanted: Query, position: Position) -> Iterator[Entry]:
    """Yield entries as they come. A console that answered once is waited for, as while it restarts."""
    is_lost = has_answered = False
    while True:
        before = position
        try:
            position, found = ledger.follow(wanted, before, _AT_ONCE)
        except RemoteError as error:
            if not has_answered or 0 < error.status < _MAY_PASS:
                raise
            if not is_lost:
                typer.echo(f"waiting: {error}", err=True)
            is_lost = True
            time.sleep(_LOST_SECONDS)
            continue
        is_lost, has_answered = False, True
        yield from _read(found)
        if position == before:
            time.sleep(_FOLLOW_SECONDS)


def _print_one(entry: Entry, output: Format) -> None:
    if output == "table":
        out.show(entries_table([entry], out.view(), header=False))
    else:
        out.print_in_stream(entry, output)
