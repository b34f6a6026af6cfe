"""The program's entry point and its groups of commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from app import __version__
from app.cli.certs import certs_app
from app.cli.config import config_app
from app.cli.deliveries import deliveries_app
from app.cli.demo import demo
from app.cli.entries import entries_app
from app.cli.failures import USAGE, complain
from app.cli.serve import serve, watch
from app.config.environment import is_no_text

app = typer.Typer(
    name="kubewitness",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A Kubernetes change auditor: it always says yes, and it remembers who changed what.",
)
app.command("serve")(serve)
app.command("watch")(watch)
app.command(short_help="Run the main job on this machine, without a cluster.")(demo)
app.add_typer(entries_app, name="entries")
app.add_typer(deliveries_app, name="deliveries")
app.add_typer(config_app, name="config")
app.add_typer(certs_app, name="certs")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kubewitness {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


def main() -> None:
    """Run the command line."""
    for position, argument in enumerate(sys.argv[1:], 1):
        if is_no_text(argument):
            complain(f"argument {position} is not UTF-8 text: {argument!a}")
            sys.exit(USAGE)
    app()
