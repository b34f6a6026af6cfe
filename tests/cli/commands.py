"""The command line, run in this process, and what a terminal must never get."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from typer.testing import CliRunner, Result

from app.cli.main import app

OUTPUTS: Final = ("table", "json", "yaml")


def kubewitness(*arguments: object) -> Result:
    """Run a command; its standard output is a pipe."""
    # So wide that no message is wrapped.
    return CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "400", "TZ": "UTC"})


def lines(data: Path, *arguments: object) -> list[str]:
    """Return what a command that works prints about this data folder, without the blanks at the end of lines."""
    result = kubewitness(*arguments, "--data-dir", data)
    assert result.exit_code == 0, result.output
    return [line.rstrip() for line in result.stdout.splitlines()]


def harmful(text: str) -> list[str]:
    """Return the characters that a terminal would obey, or that nobody would see."""
    return [character for character in text if character != "\n" and not character.isprintable()]
