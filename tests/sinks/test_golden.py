"""What every sink sends, in files that a person can read in review: tests/sinks/golden/<sink>/<notification>.

`pytest tests/sinks/test_golden.py --write-golden` writes them anew; the difference is for the reviewer.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from app.core.finding import Notification
from app.sinks.base import PermanentError
from app.sinks.registry import SINKS, build
from tests.sinks import samples

GOLDEN = Path(__file__).parent / "golden"
FIRST_LINES, LAST_LINES = 80, 40
NOTIFICATIONS = {
    "image": samples.image,
    "many-fields": samples.many_fields,
    "created": samples.created,
    "failed-job": samples.failed_job,
    "folded": samples.folded,
    "hostile": samples.hostile_names,
}


def rendered(key: str, notification: Notification, folder: Path) -> tuple[str, str]:
    """Return what a sink makes of a notification, and the suffix of its file."""
    own_test: Any = importlib.import_module(f"tests.sinks.test_{key.removesuffix('_sink')}")
    sink = build(SINKS[key].Config.model_validate({"name": "golden", **own_test.options(folder)}))
    try:
        rendering = sink.render(notification)
    except PermanentError as error:
        return f"(refused: {error})\n", "txt"
    if isinstance(rendering, str):
        return rendering if rendering.endswith("\n") else f"{rendering}\n", "txt"
    return json.dumps(rendering, indent=2, ensure_ascii=False) + "\n", "json"


def excerpt(text: str) -> str:
    """Return what a person reads of a long text: its beginning, its end, and how much lies between."""
    lines = text.splitlines(keepends=True)
    between = len(lines) - FIRST_LINES - LAST_LINES
    if between <= 0:
        return text
    return "".join([*lines[:FIRST_LINES], f"({between} lines)\n", *lines[-LAST_LINES:]])


@pytest.mark.parametrize("name", NOTIFICATIONS)
@pytest.mark.parametrize("key", SINKS)
def test_what_is_sent_is_what_the_file_shows(
    key: str, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    whole, suffix = rendered(key, NOTIFICATIONS[name](), tmp_path)
    text = excerpt(whole)
    file = GOLDEN / key.removesuffix("_sink") / f"{name}.{suffix}"
    if request.config.getoption("--write-golden"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    assert file.read_text() == text


def test_no_file_is_left_of_what_is_no_longer_sent() -> None:
    expected = {(key.removesuffix("_sink"), name) for key in SINKS for name in NOTIFICATIONS}

    assert {(file.parent.name, file.stem) for file in GOLDEN.glob("*/*")} - expected == set()
