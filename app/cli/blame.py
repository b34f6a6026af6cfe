"""`kubewitness blame`: who set each field of an object as it is now."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from app.audit.fingerprint_key import FingerprintKeyError
from app.cli.blame_live import live_object
from app.cli.failures import FAILED, complain, told
from app.cli.history_output import blame_table
from app.cli.history_subject import NOTHING, NamespaceOption, ObjectArgument, Subject, read_subject
from app.cli.output import DataDirOption, OutputOption, console, journal_path, print_documents
from app.cli.webhook import KubeconfigOption
from app.core.blame import Blame
from app.core.blame import blame as blamed
from app.core.paths import Pattern, compile_pattern, parse
from app.kube.errors import ApiError, KubernetesSetupError
from app.store.ledger import Ledger


def blame(
    subject: ObjectArgument,
    namespace: NamespaceOption = "",
    path: Annotated[str, typer.Option("--path", help="Only such fields: images, spec.replicas, env[*].value ...")] = "",
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live",
            help="Compare with the object in the cluster, or take it as the ledger knows it;"
            " by default the former where the cluster can be reached.",
        ),
    ] = None,
    kubeconfig: KubeconfigOption = None,
    output: OutputOption = "table",
    data_dir: DataDirOption = None,
) -> None:
    """Show for each field of an object who set it last, when, and what it was before.

    Values that are secret are shown as fingerprints, also those of the object in the cluster. Exit 1 where the object
    is not there, or nothing is recorded of it.
    """
    wanted = _pattern(path)
    with told(), closing(Ledger(journal_path(data_dir))) as ledger:
        found = read_subject(ledger, subject, namespace)
    fields = _fields(found, live, kubeconfig, journal_path(data_dir).parent)
    shown = [each for each in fields if wanted is None or wanted.matches(parse(each.path))]
    if output != "table":
        print_documents(shown, output)
    elif shown:
        console().print(blame_table(shown))
    if not shown:
        typer.echo(_why_nothing(found, fields), err=True)
        raise typer.Exit(NOTHING)


def _pattern(text: str) -> Pattern | None:
    try:
        return compile_pattern(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--path") from error


def _fields(found: Subject, live: bool | None, kubeconfig: Path | None, data_dir: Path) -> list[Blame]:
    if not found.entries or live is False:
        return blamed(found.entries, None)
    try:
        seen = asyncio.run(live_object(found.entries[-1].resource, kubeconfig, data_dir))
    except (ApiError, KubernetesSetupError, FingerprintKeyError) as error:
        if live or kubeconfig:
            complain(str(error))
            raise typer.Exit(FAILED) from error
        typer.echo(f"as the ledger knows it, not compared with the cluster: {error}", err=True)
        return blamed(found.entries, None)
    return blamed(found.entries, seen.document, same_key=seen.same_key) if seen else []


def _why_nothing(found: Subject, fields: list[Blame]) -> str:
    if not found.entries:
        return f"nothing is recorded of {found}"
    return f"{found} has no such field" if fields else f"{found} is not there"
