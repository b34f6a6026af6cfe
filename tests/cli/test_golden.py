"""What every reading command prints, in files that a person can read in review: tests/cli/golden/<case>.<where>.txt.

`where` is the width of a terminal, or `pipe`. `pytest tests/cli/test_golden.py --write-golden` writes them anew; the
difference is for the reviewer.
"""

from __future__ import annotations

import difflib
import re
import sys
import time
from collections.abc import Iterator
from datetime import datetime, tzinfo
from io import StringIO
from pathlib import Path
from typing import Final, NoReturn

import pytest
from typing_extensions import override

from app.cli.main import app
from tests.cli.commands import harmful
from tests.cli.golden_ledger import NOW, ZONE, write

GOLDEN: Final = Path(__file__).parent / "golden"
WHERE: Final = ("80", "120", "180", "pipe")
CASES: Final = {
    "entries-list": ("entries", "list"),
    "entries-filtered": (
        "entries",
        "list",
        "--since",
        "yesterday",
        "-n",
        "shop",
        "--actor",
        "human",
        "--path",
        "images",
    ),
    "entries-none": ("entries", "list", "--kind", "Nothing"),
    "entries-tail": ("entries", "tail", "--since", "2h"),
    "show-image": ("entries", "show", "UPDATE Deployment/shop/web"),
    "show-many": ("entries", "show", "UPDATE ConfigMap/shop/" + "n" * 120),
    "show-failed-job": ("entries", "show", "FAILED Job/shop/import"),
    "show-secret": ("entries", "show", "UPDATE Secret/default/s"),
    "history": ("history", "deployment/web", "-n", "shop"),
    "blame": ("blame", "deployment/web", "-n", "shop", "--no-live"),
    "diff": ("diff", "deployment/web", "-n", "shop", "--since", "monday 9:00", "--until", "5h"),
    "undo": ("undo", "UPDATE Deployment/shop/web"),
    "deliveries": ("deliveries", "list"),
}
_STYLE: Final = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(StringIO):
    """A terminal that keeps what it was shown."""

    @override
    def isatty(self) -> bool:
        return True


class Clock(datetime):
    """Always the same time."""

    @classmethod
    @override
    def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override]  # of this class no other time is made
        return NOW.astimezone(tz)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("golden")


@pytest.fixture(scope="module")
def ids(data: Path) -> dict[str, str]:
    return write(data)


@pytest.fixture(autouse=True)
def there_and_then(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Be in Berlin on that afternoon, without a cluster; a tail ends where it would wait."""

    def interrupt(_seconds: float) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("app.cli.times.datetime", Clock)
        patch.setattr("app.cli.entries.time.sleep", interrupt)
        for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "KUBECONFIG"):
            patch.delenv(name, raising=False)
        for name, value in {"TZ": ZONE, "HOME": str(tmp_path), "TERM": "xterm-256color"}.items():
            patch.setenv(name, value)
        time.tzset()
        yield
    time.tzset()


def printed(monkeypatch: pytest.MonkeyPatch, where: str, *arguments: str) -> str:
    screen = StringIO() if where == "pipe" else Terminal()
    if where != "pipe":
        monkeypatch.setenv("COLUMNS", where)
    monkeypatch.setattr(sys, "stdout", screen)
    app(arguments, standalone_mode=False)
    monkeypatch.undo()
    return screen.getvalue()


def plain(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in _STYLE.sub("", text).splitlines())


def compared(file: Path, text: str, request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--write-golden"):
        file.write_text(text, "utf-8")
    wanted = file.read_text("utf-8") if file.exists() else ""
    if wanted != text:
        lines = difflib.unified_diff(wanted.splitlines(), text.splitlines(), str(file.name), "printed now", lineterm="")
        pytest.fail(
            "\n".join([*lines, "", "if it is meant: pytest tests/cli/test_golden.py --write-golden"]), pytrace=False
        )


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("case", CASES)
def test_what_is_printed_is_what_the_file_shows(
    case: str,
    where: str,
    data: Path,
    ids: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    words = [ids.get(word, word) for word in CASES[case]]

    text = plain(printed(monkeypatch, where, *words, "--data-dir", str(data)))

    compared(GOLDEN / f"{case}.{where}.txt", text, request)
    assert harmful(text) == []
    if where != "pipe" and case != "undo":  # whose command is one line, however long
        assert max(map(len, text.splitlines())) <= int(where)


def test_colours_are_for_terminals(
    data: Path, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    assert ids
    text = printed(monkeypatch, "80", "entries", "list", "--limit", "6", "--data-dir", str(data))

    compared(GOLDEN / "colours.80.txt", text.replace("\x1b", "␛"), request)
    assert harmful(_STYLE.sub("", text)) == []


def test_no_file_is_left_of_what_is_no_longer_printed() -> None:
    expected = {f"{case}.{where}.txt" for case in CASES for where in WHERE} | {"colours.80.txt"}

    assert {file.name for file in GOLDEN.iterdir()} == expected
