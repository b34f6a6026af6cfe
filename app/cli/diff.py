"""`kubewitness diff`: what an object's changes come to between two moments."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.text import Text

from app.cli.failures import told
from app.cli.history_subject import NOTHING, NamespaceOption, ObjectArgument, moment_option, read_subject
from app.cli.output import OutputOption, print_documents, show, view
from app.cli.source import source as opened
from app.cli.source_options import SourceOptions, reads_ledger
from app.cli.tables import differences
from app.cli.times import clock
from app.core.comparison import compare
from app.core.history import state


@reads_ledger
def diff(
    subject: ObjectArgument,
    since: Annotated[
        str, typer.Option("--since", help="From when: 2h, yesterday, monday 9:00, a date; else all that is recorded.")
    ] = "",
    until: Annotated[str, typer.Option("--until", help="Up to when, written as for --since; else now.")] = "",
    namespace: NamespaceOption = "",
    output: OutputOption = "table",
    *,
    source: SourceOptions,
) -> None:
    """Show the net field changes of an object between two moments; what went back and forth is none.

    Exit 1 where nothing changed, or nothing is recorded.
    """
    before = moment_option(since, "--since", datetime.min.replace(tzinfo=UTC))
    after = moment_option(until, "--until", clock())
    if before > after:
        raise typer.BadParameter("is later than --until", param_hint="--since")
    with told(), closing(opened(source)) as ledger:
        found = read_subject(ledger, subject, namespace)
    changes = compare(found.entries, before, after)
    if output != "table":
        print_documents(changes, output)
    elif changes:
        show(differences(changes, view()))
        if "unknown" in {state(found.entries, moment).presence for moment in (before, after)}:
            show(Text("as far as the entries tell: the whole object is not known", style="dim"))
    if not changes:
        typer.echo(f"{found} did not change" if found.entries else f"nothing is recorded of {found}", err=True)
        raise typer.Exit(NOTHING)
