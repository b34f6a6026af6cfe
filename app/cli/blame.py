"""`kubewitness blame`: who set each field of an object as it is now."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import Annotated

import typer

from app.audit.fingerprint_key import FingerprintKeyError
from app.cli.blame_live import Live, known_key, live_object
from app.cli.failures import FAILED, complain, told
from app.cli.history_output import blame_table
from app.cli.history_subject import NOTHING, NamespaceOption, ObjectArgument, Subject, read_subject
from app.cli.output import OutputOption, journal_path, print_documents, show, view
from app.cli.source import source as opened
from app.cli.source_options import SourceOptions, reads_ledger_and_cluster
from app.core.blame import Blame
from app.core.blame import blame as blamed
from app.core.paths import Pattern, compile_pattern, parse
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError, KubernetesSetupError


@reads_ledger_and_cluster
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
    output: OutputOption = "table",
    *,
    source: SourceOptions,
) -> None:
    """Show for each field of an object who set it last, when, and what it was before.

    Values that are secret are shown as fingerprints, also those of the object in the cluster. Exit 1 where the object
    is not there, or nothing is recorded of it.
    """
    wanted = _pattern(path)
    with told(), closing(opened(source)) as ledger:
        found = read_subject(ledger, subject, namespace)
    fields = _fields(found, live, source)
    shown = [each for each in fields if wanted is None or wanted.matches(parse(each.path))]
    if output != "table":
        print_documents(shown, output)
    elif shown:
        show(blame_table(shown, view()))
    if not shown:
        typer.echo(_why_nothing(found, fields), err=True)
        raise typer.Exit(NOTHING)


def _pattern(text: str) -> Pattern | None:
    try:
        return compile_pattern(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--path") from error


def _fields(found: Subject, live: bool | None, source: SourceOptions) -> list[Blame]:
    if not found.entries or live is False:
        return blamed(found.entries, None)
    try:
        seen = asyncio.run(_live(found, source))
    except (ApiError, KubernetesSetupError, FingerprintKeyError) as error:
        if live or source.kubeconfig or source.context:
            complain(str(error))
            raise typer.Exit(FAILED) from error
        typer.echo(f"as the ledger knows it, not compared with the cluster: {error}", err=True)
        return blamed(found.entries, None)
    return blamed(found.entries, seen.document, same_key=seen.same_key) if seen else []


async def _live(found: Subject, source: SourceOptions) -> Live | None:
    """Return the object as it is; its fingerprints tell something where the key of the ledger's is at hand."""
    key = known_key(journal_path(source.data_dir).parent) if source.is_local else None
    api = await KubernetesApi.connect(source.kubeconfig, source.context)
    try:
        return await live_object(api, found.entries[-1].resource, key)
    finally:
        await api.close()


def _why_nothing(found: Subject, fields: list[Blame]) -> str:
    if not found.entries:
        return f"nothing is recorded of {found}"
    return f"{found} has no such field" if fields else f"{found} is not there"
