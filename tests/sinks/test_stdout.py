from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from app.core.change import FieldChange
from app.core.finding import DiffBlock, JsonBlock, TableBlock, TextBlock
from app.sinks.base import TemporaryError
from app.sinks.stdout import StdoutConfig, StdoutSink
from tests.sinks import samples

SECRETS: tuple[str, ...] = ()


def options(folder: Path) -> dict[str, Any]:
    return {"format": "json"}


class Stand:
    """Standard output that is kept."""

    def __init__(self) -> None:
        self.stream = io.StringIO()
        self.sink = StdoutSink(StdoutConfig(name="here"), stream=self.stream)

    @property
    def arrived(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@contextlib.asynccontextmanager
async def stand(folder: Path) -> AsyncIterator[Stand]:
    own = Stand()
    async with contextlib.aclosing(own.sink):
        yield own


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    @override
    def isatty(self) -> bool:
        return True


async def printed(stream: io.TextIOBase, *blocks: Any, **config: Any) -> str:
    sink = StdoutSink(StdoutConfig(name="out", **config), stream=stream)  # type: ignore[arg-type]
    await sink.send(samples.notification(*blocks))
    await sink.aclose()
    stream.seek(0)
    return stream.read()


@pytest.fixture(autouse=True)
def a_plain_colour_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_INTERACTIVE", "TTY_COMPATIBLE", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)


async def test_a_program_gets_one_line_of_json_each() -> None:
    text = await printed(io.StringIO(), TextBlock(text="a\nb"))

    document = msgspec.json.decode(text)

    assert text.count("\n") == 1
    assert document.keys() == {"delivery_id", "finding", "entry"}
    assert document["entry"]["changes"] == [{"path": "spec.replicas", "op": "replace", "old": 1, "new": 3}]


async def test_a_person_sees_old_in_red_and_new_in_green() -> None:
    text = await printed(Screen(), DiffBlock(changes=(FieldChange("spec.replicas", "replace", 1, 3),)))

    assert "\x1b[31m1" in text
    assert "\x1b[32m3" in text
    assert "Deployment/shop/web updated" in text
    assert "alice with kubectl-edit" in text


async def test_the_format_can_be_chosen() -> None:
    assert "spec.replicas" in await printed(io.StringIO(), format="text")
    assert (await printed(Screen(), format="json")).startswith("{")


async def test_text_for_a_file_has_no_colours() -> None:
    assert "\x1b" not in await printed(io.StringIO(), format="text")


async def test_tables_and_json_are_shown() -> None:
    table = TableBlock(headers=("pod", "state"), rows=(("web-1", "Failed"),), title="Pods")

    text = await printed(io.StringIO(), table, JsonBlock(value={"a": 1}), format="text")

    assert all(word in text for word in ("Pods", "pod", "state", "web-1", "Failed", '{"a":1}'))


async def test_hostile_text_cannot_control_the_terminal() -> None:
    stream = io.StringIO()
    sink = StdoutSink(StdoutConfig(name="out", format="text"), stream=stream)

    await sink.send(samples.hostile())

    shown = stream.getvalue()
    assert all(line.isprintable() for line in shown.splitlines())
    assert "[bold]x[/bold]" in shown


async def test_characters_that_the_terminal_lacks_are_escaped() -> None:
    raw = io.BytesIO()
    ascii_stream = io.TextIOWrapper(raw, encoding="ascii")
    sink = StdoutSink(StdoutConfig(name="out", format="text"), stream=ascii_stream)

    await sink.send(samples.notification(TextBlock(text="日本")))

    assert b"\\u65e5\\u672c" in raw.getvalue()


async def test_a_closed_stream_is_temporary() -> None:
    stream = io.StringIO()
    stream.close()

    with pytest.raises(TemporaryError, match="standard output: I/O operation on closed file"):
        await StdoutSink(StdoutConfig(name="out", format="json"), stream=stream).send(samples.notification())


async def test_sends_do_not_interleave() -> None:
    stream = io.StringIO()
    sink = StdoutSink(StdoutConfig(name="out", format="json"), stream=stream)

    await asyncio.gather(*(sink.send(samples.notification(title=f"t{number}")) for number in range(20)))

    lines = [msgspec.json.decode(line) for line in stream.getvalue().splitlines()]
    assert [line["finding"]["title"] for line in lines] == [f"t{number}" for number in range(20)]
