"""Words for the shell's completion, from the ledger that a line names so far; none where it cannot be read."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Final

import typer

from app.core.kinds import BY_NAME
from app.store.reading import Field, Reader

_HARMLESS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+=,-]*")
"""What a shell takes as one word, whatever it is: strangers choose names, and a line is run as it stands."""

Completion = Callable[[typer.Context, str], list[str]]


def completing(field: Field) -> Completion:
    """Return what completes the values of a field that entries have."""

    def complete(ctx: typer.Context, incomplete: str) -> list[str]:
        return _of(ctx, lambda ledger: ledger.words(field, incomplete), incomplete)

    return complete


def complete_kinds(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the kinds that entries have; as small as they are begun where they are built in, which is understood."""

    def kinds(ledger: Reader) -> Iterable[str]:
        for kind in ledger.words("kind"):
            yield kind
            if kind.lower() in BY_NAME:
                yield kind.lower()

    return _of(ctx, kinds, incomplete)


def complete_objects(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return what a `KIND/NAME` that begins so may be, of what changed lately."""
    wanted = ctx.params.get("namespace") or ""

    def objects(ledger: Reader) -> Iterable[str]:
        for kind, namespace, name in ledger.recent_objects():
            if wanted in ("", namespace):
                yield f"{kind.lower()}/{name}"

    return _of(ctx, objects, incomplete)


def complete_sinks(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the sinks that have deliveries."""
    return _of(ctx, lambda ledger: ledger.delivery_counts().sinks, incomplete)


def _of(ctx: typer.Context, words: Callable[[Reader], Iterable[str]], incomplete: str) -> list[str]:
    from app.cli.source import UNREADABLE, source_of  # noqa: PLC0415  `--help` needs none of it

    try:
        ledger = source_of(ctx)
        if ledger is None:
            return []
        with closing(ledger):
            found = {each for each in words(ledger) if each.startswith(incomplete)}
    except (*UNREADABLE, sqlite3.Error, OSError):
        return []
    return sorted(each for each in found if _HARMLESS.fullmatch(each))
