"""How commands print: tables for people, JSON and YAML for programs, and nothing that a terminal obeys."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer
import yaml
from rich.console import Console, RenderableType

from app.cli.times import age, clock, when
from app.settings import Settings

Format = Literal["table", "json", "yaml"]
OutputOption = Annotated[Format, typer.Option("--output", "-o", help="For people, or for programs.")]
DataDirOption = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of the journal.", envvar="KUBEWITNESS_DATA_DIR")
]

_PIPE_WIDTH: Final = 400
"""Columns where no terminal says how many there are: no line of a list is longer."""

_UNCUT: Final = 1_000_000
"""Columns of a table in a pipe: whoever reads it gets all of it."""

_LONGEST: Final = 1000
"""Characters of one name or value in a pipe; `-o json` has all of it."""

_NARROW: Final = 100
"""Below so many columns of a terminal each row has lines of its own for what others have columns for."""

_WIDE: Final = 150
"""From so many columns on a list has room for the change beside the object."""

_INVISIBLE: Final = re.compile(r"[^\n -~]")


class View(msgspec.Struct, frozen=True):
    """What tables are made for: the columns of a terminal, None in a pipe; and what time it is, in the local zone."""

    width: int | None
    now: datetime

    @property
    def is_narrow(self) -> bool:
        """A terminal with too few columns for all of a table's."""
        return self.width is not None and self.width < _NARROW

    @property
    def is_wide(self) -> bool:
        """A terminal with many columns, or a pipe, where every row is one line."""
        return self.width is None or self.width >= _WIDE

    def limit(self, characters: int) -> int:
        """Return how much of a name or a value is shown: so much on a terminal, in a pipe what can be reasonable."""
        return characters if self.width is not None else _LONGEST

    def time(self, moment: str) -> str:
        """Return when that was: in words on a terminal; in a pipe its age, which has no blanks in it."""
        return age(moment, self.now) if self.width is None else when(moment, self.now)


def view() -> View:
    """Return what standard output is."""
    screen = console()
    return View(screen.width if screen.is_terminal else None, clock())


def console() -> Console:
    """Return the console of standard output: colours on a terminal, plain and unwrapped text in a pipe."""
    terminal = sys.stdout.isatty()
    width = None if terminal else _PIPE_WIDTH
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not terminal, width=width)


def show(*parts: RenderableType) -> None:
    """Print tables and texts: as wide as the terminal is, in a pipe uncut and without blanks at the ends of lines."""
    screen = console()
    if screen.is_terminal:
        screen.print(*parts, sep="\n")
        return
    written = StringIO()
    Console(file=written, highlight=False, markup=False, emoji=False, width=_UNCUT, color_system=None).print(
        *parts, sep="\n"
    )
    for line in written.getvalue().removesuffix("\n").split("\n"):
        print(line.rstrip())
    sys.stdout.flush()


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
