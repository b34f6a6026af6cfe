"""The entry that a person means by its id, or the beginning of one."""

from __future__ import annotations

import msgspec
import typer

from app.cli.failures import FAILED, complain
from app.core.change import Entry
from app.store.reading import Reader


def recorded(ledger: Reader, beginning: str) -> Entry:
    """Return the one entry whose id begins so; tells a person, and raises Exit, where there is no such one."""
    try:
        found = ledger.find(beginning)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="ID") from error
    if len(found) != 1:
        number, remedy = ("several", "; write more of it") if found else ("no", "")
        complain(f"{number} entries begin with {beginning!r}{remedy}")
        raise typer.Exit(FAILED)
    return msgspec.json.decode(found[0], type=Entry)
