"""`kubewitness config`: check a configuration file before it is deployed, and print its schema."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Annotated

import typer

from app.cli.output import Format, OutputOption, print_documents
from app.config.file import load, load_usable
from app.config.model import Config, schema
from app.config.problems import ConfigError, Problem
from app.settings import Settings, environment
from app.sinks.registry import build_all

config_app = typer.Typer(name="config", help="Check the configuration file, or print its schema.", no_args_is_help=True)


@config_app.command()
def check(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The file; by default that of --config.")] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="The file that `serve` uses; by default KUBEWITNESS_CONFIG.")
    ] = None,
    output: OutputOption = "table",
) -> None:
    """Check the configuration: print every problem with its place and exit 1, or say what it does and exit 0.

    The files that sinks name, such as `ca_file`, must be there. Nothing is sent: see `kubewitness sinks check`.
    """
    path = file or config or Settings().config
    if path is None:
        typer.echo("no configuration file: name one, or set KUBEWITNESS_CONFIG", err=True)
        raise typer.Exit(2)
    try:
        checked = load(path, environment())
        _check_sinks(path, checked)
    except ConfigError as error:
        _print_problems(path, error.problems, output)
        raise typer.Exit(1) from None
    _print_summary(path, checked, output)


@config_app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of the configuration file, for editors and for CI."""
    typer.echo(json.dumps(schema(), indent=2))


def _check_sinks(path: Path, config: Config) -> None:
    """Raise ConfigError for the sinks that cannot be made on this machine."""
    places = load_usable(path, environment()).places
    failures = asyncio.run(_failures(config))
    if failures:
        raise ConfigError(_problem(path, places.get(name, (0, 0)), reason) for name, reason in failures.items())


async def _failures(config: Config) -> dict[str, str]:
    built = build_all(config.sinks)
    for sink in built.sinks.values():
        await sink.aclose()
    return built.failures


def _problem(path: Path, place: tuple[int, int], message: str) -> Problem:
    line, column = place
    return Problem(file=str(path), line=line, column=column, key="sinksConfig", message=message)


def _print_problems(path: Path, problems: tuple[Problem, ...], output: Format) -> None:
    if output != "table":
        print_documents({"file": str(path), "valid": False, "problems": problems}, output)
        return
    for problem in problems:
        typer.echo(str(problem), err=True)
    typer.echo(f"{_count(len(problems), 'problem')} in {path}", err=True)


def _print_summary(path: Path, config: Config, output: Format) -> None:
    playbooks = [playbook.label for playbook in config.custom_playbooks]
    sinks = [sink.name for sink in config.sinks]
    recorded = config.record.describe()
    if output != "table":
        summary = {"playbooks": playbooks, "sinks": sinks, "recorded": recorded, "notes": config.notes}
        print_documents({"file": str(path), "valid": True, **summary}, output)
        return
    typer.echo(f"{path} is valid")
    typer.echo(f"{_count(len(playbooks), 'playbook')}: {', '.join(playbooks) or 'none'}")
    typer.echo(f"{_count(len(sinks), 'sink')}: {', '.join(sinks) or 'none'}")
    typer.echo(f"recorded: {recorded}")
    for note in config.notes:
        typer.echo(f"note: {note}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
