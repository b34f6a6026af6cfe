"""Whoever asks the console first has nobody else wait: what it puts off is done before it listens."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import routing

from app.web.warm import warm
from tests.builders import make_record
from tests.web.ledgers import client_of, console_of, write


async def test_a_console_that_is_warm_makes_no_route_for_who_asks_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(tmp_path, make_record())
    app = console_of(tmp_path)
    await warm(app)
    made: list[str] = []
    dependant: Callable[..., Any] = vars(routing)["get_dependant"]

    def counted(**options: Any) -> Any:
        made.append(str(options.get("path")))
        return dependant(**options)

    monkeypatch.setattr(routing, "get_dependant", counted)
    async with client_of(app) as client:
        answers = [await client.get(path) for path in ("/api/v1/entries", "/", "/status", "/nowhere")]

    assert [answer.status_code for answer in answers] == [200, 200, 200, 404]
    assert made == []
    assert app.openapi_schema is not None
