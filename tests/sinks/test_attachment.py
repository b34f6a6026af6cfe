"""Files beside messages are made where they hold up nobody."""

from __future__ import annotations

import importlib
import re
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.core import text as plain
from app.core.finding import FileBlock
from app.sinks.registry import SINKS
from tests.sinks import samples


@pytest.mark.parametrize("name", ["discord", "mattermost", "telegram", "webex", "zulip"])
async def test_a_file_of_megabytes_is_not_made_in_the_event_loop(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_test = importlib.import_module(f"tests.sinks.test_{name}")
    threads: list[int] = []
    make = plain.plain_text

    def noted(*arguments: Any) -> str:
        threads.append(threading.get_ident())
        return make(*arguments)

    monkeypatch.setattr(plain, "plain_text", noted)
    given = {"name": "here", **own_test.options(tmp_path), **({"log_preview_char_limit": 0} if name == "zulip" else {})}
    sink: Any = SINKS[f"{name}_sink"]
    answer = {"status_code": 200, **getattr(own_test, "SUCCESS", {})}
    await sink(sink.Config(**given), transport=httpx.MockTransport(lambda _: httpx.Response(**answer))).send(
        samples.failed_job()
    )

    assert threads
    assert threading.get_ident() not in threads


@pytest.mark.parametrize("name", ["pushover", "telegram", "zulip"])
def test_of_a_log_that_is_cut_the_lines_before_are_counted(name: str, tmp_path: Path) -> None:
    own_test = importlib.import_module(f"tests.sinks.test_{name}")
    sink: Any = SINKS[f"{name}_sink"]
    made = sink(sink.Config(name="here", **own_test.options(tmp_path)))
    log = "".join(f"row {number:04}\n" for number in range(1000))

    shown = str(made.render(samples.notification(FileBlock(name="web.log", content=log))))

    first = int(re.findall(r"row (\d+)", shown.partition("'document'")[0])[0])
    (earlier,) = re.findall(r"\((\d+) earlier lines\)", shown)
    assert abs(first - int(earlier)) <= 1
