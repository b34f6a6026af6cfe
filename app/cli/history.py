"""`kubewitness history`: an object's entries as one story."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
import typer

from app.cli.failures import told
from app.cli.history_output import story_table
from app.cli.history_subject import NOTHING, NamespaceOption, ObjectArgument, moment_option, read_subject
from app.cli.output import OutputOption, print_documents, show, view
from app.cli.source import source as opened
from app.cli.source_options import SourceOptions, reads_ledger
from app.core.history import Chapter, Life, is_by, story


@reads_ledger
def history(
    subject: ObjectArgument,
    namespace: NamespaceOption = "",
    since: Annotated[str, typer.Option("--since", help="Not older than: 2h, yesterday, monday 9:00, a date.")] = "",
    until: Annotated[str, typer.Option("--until", help="Older than; written as for --since.")] = "",
    output: OutputOption = "table",
    *,
    source: SourceOptions,
) -> None:
    """Tell the story of an object, oldest first: who created it, changed it, deleted it, and made it again.

    Exit 1 where nothing of it was recorded.
    """
    after = moment_option(since, "--since", datetime.min.replace(tzinfo=UTC))
    before = moment_option(until, "--until", datetime.max.replace(tzinfo=UTC))
    with told(), closing(opened(source)) as ledger:
        found = read_subject(ledger, subject, namespace)
    lives = [life for life in (_between(life, after, before) for life in story(found.entries)) if life.chapters]
    if output != "table":
        print_documents([_document(life) for life in lives], output)
    elif lives:
        show(story_table(lives, view()))
    if not lives:
        typer.echo(f"nothing is recorded of {found}" + (" in this time" if found.entries else ""), err=True)
        raise typer.Exit(NOTHING)


def _between(life: Life, after: datetime, before: datetime) -> Life:
    kept: tuple[Chapter, ...] = tuple(
        each for each in life.chapters if is_by(each.entry, before) and not is_by(each.entry, after)
    )
    return msgspec.structs.replace(life, chapters=kept)


def _document(life: Life) -> dict[str, Any]:
    document: dict[str, Any] = msgspec.to_builtins(life)
    return document
