"""`kubewitness route`: try out who would be told of a change, and why the others would not."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from app.cli.failures import FAILED, USAGE, complain, told
from app.cli.output import DataDirOption, OutputOption, console, print_documents
from app.cli.route_output import Messages, document, findings_of, renderables, told_sinks
from app.cli.route_subject import Case, Circumstances, SubjectError, case_of, read_subject
from app.config.file import load_usable
from app.config.model import Config
from app.core.facts import NamespaceLabels, unknown_namespaces
from app.core.finding import Notification
from app.core.moments import parse_moment
from app.core.nearest import nearest
from app.settings import Settings, environment
from app.sinks.base import Rendering, SinkConfig, SinkSetupError
from app.sinks.registry import build
from app.telemetry.logs import configure

route_app = typer.Typer(name="route", help="Try out who is told, and why others are not.", no_args_is_help=True)

NOBODY: Final = 3
"""Exit code where nobody would be told."""


@route_app.callback()
def _group() -> None:
    """Try out who is told, and why others are not."""


@route_app.command("test")
def try_out(
    target: Annotated[
        str,
        typer.Argument(
            metavar="ENTRY_ID|FILE",
            help="An entry by its id, or its beginning; or a file (- is standard input) with an AdmissionReview or an"
            " entry, in JSON or YAML.",
        ),
    ],
    config: Annotated[
        Path | None, typer.Option("--config", help="Configuration file; by default KUBEWITNESS_CONFIG.")
    ] = None,
    data_dir: DataDirOption = None,
    at: Annotated[
        str,
        typer.Option(
            "--at", help="Moment for activity and mute_intervals: 2h (ago), a date or RFC 3339; by default the entry's."
        ),
    ] = "",
    namespace_label: Annotated[
        list[str] | None,
        typer.Option("--namespace-label", metavar="KEY=VALUE", help="A label of the namespace, for namespace_labels."),
    ] = None,
    sink: Annotated[str, typer.Option("--sink", help="Only this sink, with what it would get.")] = "",
    render: Annotated[bool, typer.Option("--render", help="Show what each sink would get.")] = False,
    output: OutputOption = "table",
) -> None:
    """Show which playbooks fire on a change, which sinks would be told what, and why the others would not.

    Nothing is sent and nothing is stored. Grouping, noise rules and rate limits, which depend on what came before, are
    not considered. Exit code 0: somebody would be told (with --sink: this sink); 3: nobody;
    1: something cannot be read; 2: wrong usage.
    """
    circumstances = Circumstances(_namespaces(namespace_label or []), datetime.now(UTC), _moment(at))
    configure("error")
    with told():
        settings = Settings()
        path = config or settings.config
        if path is None:
            complain("no configuration file: name one with --config, or set KUBEWITNESS_CONFIG")
            raise typer.Exit(USAGE)
        reading = load_usable(path, environment())
        for left_out in reading.left_out:
            complain(f"left out: {left_out}")
        loaded = reading.config
        _check_sink(sink, loaded)
        try:
            subject = read_subject(target, data_dir)
            case = case_of(subject, loaded, loaded.global_config.cluster_name or settings.cluster_name, circumstances)
        except SubjectError as error:
            complain(str(error))
            raise typer.Exit(FAILED) from error
        messages = asyncio.run(_messages(case, loaded, sink)) if render or sink else {}
    if output == "table":
        screen = console()
        for each in renderables(case, messages, sink):
            screen.print(each)
    else:
        print_documents(document(case, messages, sink), output)
    if not told_sinks(case, sink):
        raise typer.Exit(NOBODY)


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        now = datetime.now().astimezone()
        return parse_moment(text, now, now.tzinfo or UTC)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--at") from error


def _namespaces(texts: list[str]) -> NamespaceLabels:
    labels = {}
    for text in texts:
        key, sign, value = text.partition("=")
        if not sign or not key:
            raise typer.BadParameter(f"{text!r} is no label; write key=value", param_hint="--namespace-label")
        labels[key] = value
    return (lambda _name: labels) if labels else unknown_namespaces


def _check_sink(name: str, config: Config) -> None:
    names = [each.name for each in config.sinks]
    if name and name not in names:
        near = nearest(name, names)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(names) or 'none'}"
        raise typer.BadParameter(f"no sink is named {name!r}; {hint}", param_hint="--sink")


async def _messages(case: Case, config: Config, only: str) -> Messages:
    """Return what each sink that takes a finding would get; no sink is told anything."""
    configs = {each.name: each for each in config.sinks}
    found: dict[tuple[int, str], Rendering] = {}
    for number, (_, verdict) in enumerate(findings_of(case)):
        for each in verdict.sinks:
            if each.takes and only in ("", each.sink) and each.sink in configs:
                notification = Notification(
                    delivery_id=f"{case.entry.id}/{number}/{each.sink}",
                    finding=verdict.finding,
                    entry=case.entry,
                    link=_link(case, config),
                )
                found[number, each.sink] = await _rendered(configs[each.sink], notification)
    return found


async def _rendered(config: SinkConfig, notification: Notification) -> Rendering:
    try:
        sink = build(config)
    except SinkSetupError as error:
        return f"cannot be shown: {error}"
    try:
        return sink.render(notification)
    finally:
        await sink.aclose()


def _link(case: Case, config: Config) -> str:
    console_url = config.global_config.console_url
    return f"{str(console_url).rstrip('/')}/entries/{case.entry.id}" if console_url else ""
