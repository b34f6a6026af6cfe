"""Standard output sink: a coloured panel where a person watches, JSON lines where a program reads."""

from __future__ import annotations

import io
import os
import sys
from typing import Annotated, Final, Literal, TextIO

from pydantic import Field
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text
from typing_extensions import override

from app.core import text as plain
from app.core.finding import Block, DiffBlock, FileBlock, JsonBlock, Notification, Severity, TableBlock, TextBlock
from app.sinks._document import line
from app.sinks._thread import OwnThread
from app.sinks.base import Rendering, Sink, SinkConfig, TemporaryError

SEVERITY_STYLES: Final = (
    (Severity.DEBUG, "dim"),
    (Severity.INFO, "blue"),
    (Severity.LOW, "cyan"),
    (Severity.MEDIUM, "yellow"),
    (Severity.HIGH, "red"),
)


class StdoutConfig(SinkConfig):
    """Options of the standard output sink."""

    format: Annotated[
        Literal["auto", "text", "json"],
        Field(description="`text` for people, `json` for one line each, `auto` is text on a terminal and else json."),
    ] = "auto"


class StdoutSink(Sink[StdoutConfig]):
    """Prints each notification whole, never interleaved with another one's lines.

    `stream` replaces the standard output, for tests. A stream that is closed or full is a temporary failure.
    """

    Config = StdoutConfig

    def __init__(self, config: StdoutConfig, *, stream: TextIO | None = None) -> None:
        super().__init__(config)
        self._stream = sys.stdout if stream is None else stream
        self._thread = OwnThread(f"sink-{config.name}")

    @override
    def render(self, notification: Notification) -> Rendering:
        return self._rendered(notification)

    @override
    async def send(self, notification: Notification) -> None:
        text = self._rendered(notification)
        try:
            await self._thread.run(lambda: self._print(text))
        except (OSError, ValueError) as error:
            raise TemporaryError(f"standard output: {error}") from error

    @override
    async def aclose(self) -> None:
        self._thread.close()

    def _rendered(self, notification: Notification) -> str:
        wants_text = self._stream.isatty() if self.config.format == "auto" else self.config.format == "text"
        if not wants_text:
            return line(notification).decode()
        console = Console(file=self._stream, highlight=False, markup=False, emoji=False)
        with console.capture() as capture:
            console.print(panel(notification))
        return capture.get()

    def _print(self, text: str) -> None:
        encoding = self._stream.encoding or "utf-8"
        data = text.encode(encoding, "backslashreplace")
        try:
            descriptor = self._stream.fileno()
        except io.UnsupportedOperation:
            self._stream.write(data.decode(encoding))
            self._stream.flush()
        else:
            _write(descriptor, data)


def _write(descriptor: int, data: bytes) -> None:
    """Write past the stream's buffer: a thread that blocks while it holds that makes the interpreter abort at exit."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def panel(notification: Notification) -> Panel:
    """Return the notification as a panel; all text in it is plain, whatever it contains."""
    finding, entry = notification.finding, notification.entry
    style = dict(SEVERITY_STYLES)[finding.severity]
    person = plain.who(entry)
    said = person in finding.description
    head = [*plain.lines(finding.description), "" if said else person, plain.what(entry)]
    parts: list[RenderableType] = [Text(text, style="dim") for text in head if text]
    for block in plain.shown_blocks(notification):
        parts += [renderable(block)] if isinstance(block, DiffBlock) else [Text(""), renderable(block)]
    title = Text(f"{finding.severity} {plain.one_line(finding.title)}", style=f"bold {style}")
    return Panel(Group(*parts), title=title, title_align="left", border_style=style)


def renderable(block: Block) -> RenderableType:
    """Return a block in rich's terms, with harmless text only."""
    match block:
        case TextBlock(text=text):
            return Text("\n".join(plain.lines(text)))
        case DiffBlock():
            return _diff(block)
        case TableBlock():
            return _table(block)
        case FileBlock(name=name, content=content):
            return Panel(Text("\n".join(plain.lines(content))), title=Text(plain.one_line(name)))
        case JsonBlock(value=value):
            return Text(plain.value(value))


def _diff(block: DiffBlock) -> Table:
    table = Table("field", "old", "new", box=None, pad_edge=False, expand=False)
    for changed in block.changes:
        old, new = Text(plain.value(changed.old), style="red"), Text(plain.value(changed.new), style="green")
        table.add_row(Text(plain.one_line(changed.path), style="bold"), old, new)
    return table


def _table(block: TableBlock) -> Table:
    title = Text(plain.one_line(block.title), style="dim") if block.title else None
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for header in block.headers:
        # Names of Pods differ at their end: folded, not cut.
        table.add_column(Text(plain.one_line(header)), overflow="fold")
    for row in block.rows:
        table.add_row(*(Text(plain.one_line(cell)) for cell in row))
    return table
