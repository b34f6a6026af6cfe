"""`kubewitness entries export`: all entries of the filters, as a file for spreadsheets or for programs."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO

import msgspec
import typer

from app.cli.command import Command
from app.cli.entries import (
    ActorOption,
    Contains,
    Kind,
    Name,
    Namespace,
    Operation,
    PathPattern,
    Since,
    Until,
    User,
    entries_app,
    moment_option,
    wanted_query,
)
from app.cli.failures import told
from app.cli.output import harmless_json
from app.cli.source import source as opened
from app.cli.source_options import SourceOptions, reads_ledger
from app.cli.whole import require_all, written
from app.core import export
from app.core.export import Format, Rows
from app.store.paging import ending, pages
from app.store.reading import Reader
from app.store.search.query import Query

__all__ = ["entries_app"]

FormatOption = Annotated[
    Format, typer.Option("--format", help="A table for spreadsheets, or one JSON document for each line.")
]
RowsOption = Annotated[Rows, typer.Option("--rows", help="What a row of the table is: a changed field, or an entry.")]
FileOption = Annotated[
    Path | None, typer.Option("--file", help="File to write; by default standard output.", dir_okay=False)
]


@entries_app.command("export", cls=Command)
@reads_ledger
def export_entries(
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
    format_: FormatOption = "csv",
    rows: RowsOption = "changes",
    file: FileOption = None,
    *,
    source: SourceOptions,
) -> None:
    """Write all entries, newest first: as CSV that no spreadsheet calculates with, or as JSON lines.

    The file is written only when all of it could be read.
    """
    wanted = msgspec.structs.replace(
        wanted_query(kind, namespace, name, user, operation, path, query),
        actor=actor or "",
        since=moment_option(since, "--since"),
        until=moment_option(until, "--until"),
    )
    with told(), closing(opened(source)) as ledger, written(file) as target:
        require_all(ledger)
        _write(ledger, ending(wanted, datetime.now(UTC)), target, format_, rows)
        require_all(ledger)


def _write(ledger: Reader, wanted: Query, target: BinaryIO, format_: Format, rows: Rows) -> None:
    is_seen = target is sys.stdout.buffer and sys.stdout.isatty()
    target.write(export.beginning(format_, rows))
    for items in pages(ledger, wanted):
        lines = export.lines(items, format_, rows)
        target.write(harmless_json(lines).encode() if is_seen and format_ == "jsonl" else lines)
