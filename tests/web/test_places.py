"""Whoever sees some namespaces cannot take all places of what takes long."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest

from app.core.viewer import Viewer
from app.web import export, stream
from app.web.places import Places
from app.web.ui import report_page
from tests.builders import make_record
from tests.web.ledgers import client_of, console_of, write

ALICE = Viewer(name="alice", namespaces=frozenset({"shop"}))
BOB = Viewer(name="bob", namespaces=frozenset({"blog"}))
OWNER = Viewer(name="console token")


def test_who_sees_some_namespaces_has_a_few_of_the_places() -> None:
    places = Places(4, 2)
    with ExitStack() as taken:
        for _ in range(2):
            taken.enter_context(places.place(ALICE))
        assert (places.full(ALICE), places.full(BOB), places.full(OWNER)) == (2, 0, 0)
        for _ in range(2):
            taken.enter_context(places.place(OWNER))
        assert (places.full(ALICE), places.full(BOB), places.full(OWNER)) == (4, 4, 4)

    assert places.taken == 0
    assert places.full(ALICE) == 0


@pytest.mark.parametrize(
    ("path", "module"), [("/export.csv", export), ("/api/v1/export", export), ("/report", report_page)]
)
async def test_others_are_answered_while_one_has_all_that_one_can_have(
    tmp_path: Path, path: str, module: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    await write(tmp_path, make_record())
    monkeypatch.setattr(Places, "full", lambda self, viewer: 0 if viewer.name != "alice" else 1)
    app = console_of(tmp_path)

    async with client_of(app, ALICE) as alice, client_of(app, BOB) as bob:
        refused, answered = await alice.get(path), await bob.get(path)

    assert (refused.status_code, answered.status_code) == (503, 200)
    assert "made already" in refused.text


async def test_a_stream_more_than_one_can_have_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(tmp_path, make_record())
    monkeypatch.setattr(Places, "full", lambda self, viewer: 25)

    async with client_of(console_of(tmp_path), ALICE) as client:
        refused = await client.get(stream.PATH)

    assert refused.status_code == 503
    assert refused.json() == {"detail": "25 pages listen already; close some"}
