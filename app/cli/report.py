"""`kubewitness report`: the audit report of a period, as a file that needs nothing else."""

from __future__ import annotations

import os
import pwd
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from app.cli.failures import told
from app.cli.source import source as opened
from app.cli.source_options import SourceOptions, reads_ledger
from app.cli.whole import replicas, require_all, written
from app.core.report_wish import USUAL_SINCE, USUAL_UNTIL, Office, ReportWish, report_wish
from app.remote.transport import RemoteError
from app.settings import Settings
from app.store.dead_letters import Dead, dead_letters
from app.store.paging import pages
from app.store.reading import Reader
from app.web.ui.report import Report, beginning_of, query_of, scope_of, standalone, tally_of

_FORBIDDEN: Final = 403


@reads_ledger
def report(
    since: Annotated[
        str, typer.Option("--since", help="When the period begins: 7d, monday, 2026-11-01, RFC 3339.")
    ] = USUAL_SINCE,
    until: Annotated[str, typer.Option("--until", help="When it ends; written as for --since.")] = USUAL_UNTIL,
    hours: Annotated[
        str, typer.Option("--hours", help="Working hours, such as 8-18; by default KUBEWITNESS_REPORT_HOURS.")
    ] = "",
    days: Annotated[
        str, typer.Option("--days", help="Working days, such as mon-fri; by default KUBEWITNESS_REPORT_DAYS.")
    ] = "",
    zone: Annotated[
        str, typer.Option("--zone", help="Time zone, such as Europe/Paris; by default KUBEWITNESS_REPORT_ZONE.")
    ] = "",
    file: Annotated[
        Path | None, typer.Option("--file", help="File to write; by default standard output.", dir_okay=False)
    ] = None,
    *,
    source: SourceOptions,
) -> None:
    """Write an audit report of a period as one HTML file that prints well: to be read, printed, or kept as a PDF.

    It counts changes by namespace, person, controller, kind and operation, and lists failed Jobs, what people changed
    out of hours or deleted, sensitive changes, and dead letters; and it says what it lacks. The file is written only
    when all could be read.
    """
    with told():
        now = datetime.now(UTC)
        wish = _wish(since, until, hours, days, zone, now)
        with closing(opened(source)) as ledger, written(file) as target:
            require_all(ledger)
            made = _made(ledger, wish, now)
            require_all(ledger)
            target.write(standalone(made).encode())


def _wish(since: str, until: str, hours: str, days: str, zone: str, now: datetime) -> ReportWish:
    usual = Settings().office
    office = Office(hours=hours or usual.hours, days=days or usual.days, zone=zone or usual.zone)
    try:
        return report_wish(since, until, office, now)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _made(ledger: Reader, wish: ReportWish, now: datetime) -> Report:
    dead = _dead(ledger)
    beginning = beginning_of(ledger, dead)
    tally = tally_of(wish, beginning)
    for items in pages(ledger, query_of(wish)):
        tally.add(items)
    tally.finish()
    return Report(
        wish=wish,
        tally=tally,
        beginning=beginning,
        made_at=now,
        made_by=f"{_user()} with the command line",
        scope=scope_of(None) if dead is not None else "the namespaces that the console lets them see",
        sees_all=dead is not None,
    )


def _dead(ledger: Reader) -> Dead | None:
    """Return the dead letters; None where a console keeps them from who asks, as it then does with namespaces."""
    try:
        return dead_letters(replicas(ledger))
    except RemoteError as error:
        if error.status != _FORBIDDEN:
            raise
        return None


def _user() -> str:
    """Return who is signed in to this machine."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # containers run as users that have no name
        return f"user {os.getuid()}"
