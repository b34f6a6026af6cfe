"""`kubewitness deliveries`: who was told, who was not, and trying again."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Final

import typer
from rich.text import Text

from app.cli.command import Command
from app.cli.completion import complete_sinks
from app.cli.failures import USAGE, complain, told
from app.cli.output import DataDirOption, OutputOption, console, journal_path, print_documents, show, view
from app.cli.source import source as opened
from app.cli.source_options import SourceOptions, reads_ledger
from app.cli.tables import deliveries_table
from app.core.delivery import Delivery, DeliveryState
from app.store.deliveries import purge, requeue
from app.store.reading import Reader

deliveries_app = typer.Typer(no_args_is_help=True, help="List deliveries, and retry or purge the dead ones.")

_AT_ONCE: Final = 500

Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", help="Deliveries, as listed.")]
SinkOption = Annotated[str, typer.Option("--sink", help="Only those to this sink.", autocompletion=complete_sinks)]
All = Annotated[bool, typer.Option("--all", help="Every dead delivery.")]


def _require_choice(ids: list[int] | None, sink: str, every: bool) -> None:
    if not (ids or sink or every):
        complain("say which: ids, --sink NAME, or --all (see: kubewitness deliveries list --state dead)")
        raise typer.Exit(USAGE)


@deliveries_app.command("list", cls=Command)
@reads_ledger
def list_command(
    state: Annotated[
        DeliveryState | None, typer.Option("--state", help="pending, delivered, dead or withheld.")
    ] = None,
    sink: SinkOption = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=100_000, help="How many at most.")] = 50,
    output: OutputOption = "table",
    *,
    source: SourceOptions,
) -> None:
    """List deliveries, newest first."""
    with told(), closing(opened(source)) as ledger:
        found = _newest(ledger, state, sink, limit)
    if output != "table":
        print_documents(found, output)
    elif found:
        show(deliveries_table(found, view()))
    else:
        show(Text("no deliveries match", style="dim"))


def _newest(ledger: Reader, state: DeliveryState | None, sink: str, limit: int) -> list[Delivery]:
    found, before = list[Delivery](), None
    while len(found) < limit:
        page = ledger.deliveries(state=state, sink=sink, before=before, limit=min(limit - len(found), _AT_ONCE))
        found += page
        if not page:
            break
        before = page[-1].id
    return found


@deliveries_app.command(cls=Command)
def retry(ids: Ids = None, sink: SinkOption = "", every: All = False, data_dir: DataDirOption = None) -> None:
    """Send dead deliveries again; a running server takes them up within seconds."""
    _require_choice(ids, sink, every)
    with told():
        count = requeue(journal_path(data_dir), ids=ids or (), sink=sink)
    console().print(f"{count} {'delivery' if count == 1 else 'deliveries'} queued again")


@deliveries_app.command("purge", cls=Command)
def purge_command(
    ids: Ids = None,
    sink: SinkOption = "",
    every: All = False,
    state: Annotated[DeliveryState, typer.Option("--state", help="Which deliveries.")] = "dead",
    data_dir: DataDirOption = None,
) -> None:
    """Forget deliveries, by default dead ones. The entries that they told of stay."""
    _require_choice(ids, sink, every)
    with told():
        count = purge(journal_path(data_dir), state=state, ids=ids or (), sink=sink)
    console().print(f"{count} {'delivery' if count == 1 else 'deliveries'} purged")
