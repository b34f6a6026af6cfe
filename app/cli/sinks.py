"""`kubewitness sinks`: which sinks are configured, and whether each of them takes a message."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import typer
from rich.table import Table
from rich.text import Text

from app.cli.failures import FAILED, USAGE, complain, told
from app.cli.output import OutputOption, console, print_documents
from app.config.file import LeftOut, Reading, load_usable
from app.core import text as plain
from app.core.change import Entry, FieldChange, Resource, User
from app.core.finding import DiffBlock, Finding, Notification
from app.core.identity import entry_id, first_sequence_at
from app.core.nearest import nearest
from app.settings import Settings, environment
from app.sinks.base import Sink, SinkConfig, SinkError, SinkSetupError
from app.sinks.registry import build, key_of

sinks_app = typer.Typer(no_args_is_help=True, help="List the configured sinks, or send each a test message.")

TITLE: Final = "Test message of kubewitness sinks check"

ConfigOption = Annotated[
    Path | None, typer.Option("--config", help="The configuration file; by default KUBEWITNESS_CONFIG.")
]
_STYLES: Final = {"ok": "green", "failed": "bold red", "not built": "bold red"}


class Checked(msgspec.Struct, frozen=True):
    """What became of a sink's test message: `ok` with the time that it took, or why it did not arrive."""

    sink: str
    type: str
    result: Literal["ok", "failed", "not built"]
    milliseconds: int | None = None
    detail: str = ""


@sinks_app.command("list")
def list_command(config: ConfigOption = None, output: OutputOption = "table") -> None:
    """List the configured sinks in their order; those that are left out are told on standard error."""
    reading = _loaded(config)
    for sink in reading.left_out:
        complain(f"left out: {sink}")
    found = [
        {
            "sink": sink.name,
            "type": key_of(sink),
            "default": sink.default,
            "stop": sink.stop,
            "filtered": any((sink.scope, sink.match, sink.activity, sink.mute_intervals)),
            "grouped": sink.grouping is not None,
        }
        for sink in reading.config.sinks
    ]
    if output != "table":
        print_documents(found, output)
        return
    table = Table("SINK", "TYPE", "DEFAULT", "STOP", "FILTERED", "GROUPED", box=None, pad_edge=False)
    for each in found:
        table.add_row(*(_cell(value) for value in each.values()))
    console().print(table)


@sinks_app.command()
def check(
    config: ConfigOption = None,
    sinks: Annotated[
        list[str] | None, typer.Option("--sink", help="Only this sink; may be given more than once.")
    ] = None,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, max=300, help="Seconds that one sink may take.")
    ] = 30.0,
    output: OutputOption = "table",
) -> None:
    """Send a test message to every configured sink; exit 0 if all took it, 1 if any did not.

    The message is about a made-up change and says that it is a test. Routing, windows and grouping do not count here.
    """
    reading = _loaded(config)
    _refuse_unknown(
        sinks or [], [*(each.name for each in reading.config.sinks), *(each.name for each in reading.left_out)]
    )
    chosen = [each for each in reading.config.sinks if not sinks or each.name in sinks]
    left_out = [_not_built(each) for each in reading.left_out if not sinks or each.name in sinks]
    # What programs read is the list alone: a sink of standard output writes to standard error meanwhile.
    with contextlib.redirect_stdout(sys.stdout if output == "table" else sys.stderr):
        results = [*asyncio.run(_checked_with_progress(chosen, timeout)), *left_out]
    if output != "table":
        print_documents(results, output)
    elif results:
        console().print(_table(results))
    else:
        console().print(Text("no sinks are configured", style="dim"))
    if any(each.result != "ok" for each in results):
        raise typer.Exit(FAILED)


def _loaded(config: Path | None) -> Reading:
    path = config or Settings().config
    if path is None:
        complain("no configuration file: name one with --config, or set KUBEWITNESS_CONFIG")
        raise typer.Exit(USAGE)
    with told():
        return load_usable(path, environment())


def _refuse_unknown(names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f"; did you mean {near!r}?" if near else ""
            complain(f"no sink is named {name!r}: there are {', '.join(known) or 'none'}{hint}")
            raise typer.Exit(USAGE)


def _not_built(sink: LeftOut) -> Checked:
    return Checked(sink.name, sink.key, "not built", detail=str(sink))


async def _checked_with_progress(configs: Sequence[SinkConfig], seconds: float) -> list[Checked]:
    """Check all sinks at once; on a terminal a line says how many answered."""
    results: dict[str, Checked] = {}
    async for result in checked(configs, seconds):
        results[result.sink] = result
        if sys.stderr.isatty():
            print(f"\r{len(results)} of {len(configs)} sinks answered", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty() and results:
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
    return [results[config.name] for config in configs]


async def checked(configs: Sequence[SinkConfig], seconds: float) -> AsyncIterator[Checked]:
    """Yield what became of each sink's test message, in the order in which that is known."""
    notification = message(datetime.now(UTC))
    for coming in asyncio.as_completed([_checked(config, notification, seconds) for config in configs]):
        yield await coming


async def _checked(config: SinkConfig, notification: Notification, seconds: float) -> Checked:
    try:
        sink = build(config)
    except SinkSetupError as error:
        return Checked(config.name, key_of(config), "not built", detail=str(error))
    started = time.monotonic()
    try:
        detail = await _sent(sink, notification, seconds)
    finally:
        await sink.aclose()
    taken = round((time.monotonic() - started) * 1000)
    return Checked(config.name, key_of(config), "failed" if detail else "ok", taken, detail)


async def _sent(sink: Sink[Any], notification: Notification, seconds: float) -> str:
    """Send; return why that failed, or nothing."""
    try:
        async with asyncio.timeout(seconds):
            await sink.send(notification)
    except SinkError as error:
        return str(error)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except Exception as error:  # noqa: BLE001  a sink's bug must not keep people from what the others say
        return f"internal error ({type(error).__name__}): this is a bug of the sink"
    return ""


def message(now: datetime) -> Notification:
    """Return the test message: the change of a Deployment that there is not."""
    changed = FieldChange("spec.replicas", "replace", 2, 3)
    entry = Entry(
        id=entry_id(first_sequence_at(int(now.timestamp() * 1000)), 0),
        at=now.isoformat(timespec="microseconds").replace("+00:00", "Z"),
        cluster="test",
        resource=Resource(
            group="apps", version="v1", kind="Deployment", resource="deployments", namespace="test", name="test"
        ),
        user=User(username="test"),
        field_manager="kubewitness",
        changes=(changed,),
    )
    finding = Finding(
        playbook="sinks check",
        title=TITLE,
        description="If you can read this, the sink works. Nothing was changed anywhere.",
        aggregation_key="sinks_check",
        blocks=(DiffBlock(changes=(changed,)),),
    )
    return Notification(delivery_id=f"check/{entry.id}", finding=finding, entry=entry)


def _table(results: Sequence[Checked]) -> Table:
    table = Table("SINK", "TYPE", "RESULT", "TIME", "DETAIL", box=None, pad_edge=False)
    for each in results:
        table.add_row(
            _cell(each.sink),
            each.type,
            Text(each.result, style=_STYLES[each.result]),
            "" if each.milliseconds is None else f"{each.milliseconds} ms",
            _cell(each.detail),
        )
    return table


def _cell(value: object) -> Text:
    return Text(("yes" if value else "") if isinstance(value, bool) else plain.one_line(str(value)))
