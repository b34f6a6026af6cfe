"""The program's entry point."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from app import __version__
from app.cli.called import PLUGIN
from app.cli.lazy import LazyGroup
from app.config.environment import is_no_text

_PLUGIN_FILE: Final = "kubectl-witness"
_PLUGIN_COMPLETION: Final = "_KUBECTL_WITNESS_COMPLETE"
"""The variable by which shells ask for completions, since the name has a blank in it."""

app = typer.Typer(
    name="kubewitness",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A Kubernetes change auditor: it always says yes, and it remembers who changed what.",
)


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
            from app.cli.failures import USAGE, complain  # noqa: PLC0415

            complain(f"argument {position} is not UTF-8 text: {argument!a}")
            sys.exit(USAGE)
    if Path(sys.argv[0]).stem == _PLUGIN_FILE:
        app(prog_name=PLUGIN, complete_var=_PLUGIN_COMPLETION)
    else:
        app()
