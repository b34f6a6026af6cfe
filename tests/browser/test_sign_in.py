"""In a real browser: strangers sign in, with or without script, and links from elsewhere find who has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import pytest

from app.store.journal import Journal
from app.telemetry.metrics import Metrics
from app.web.access import guarded
from app.web.attempts import Attempts
from app.web.console import console
from app.web.server import listen, listener, stop
from app.web.users import Users
from tests.browser.chromium import Chromium, pictures
from tests.browser.conftest import LOOPBACK, Visitor
from tests.web.doors import door
from tests.web.ledgers import checks
from tests.web.test_users import ALICE, Pauses

pytestmark = pytest.mark.timeout(300)

USERS: Final = {"alice": ALICE}


@pytest.fixture
async def stranger(chromium: Chromium, journal: Journal) -> AsyncIterator[Visitor]:
    """A visitor of a console with users, to which it is not the machine itself."""
    sock = listen(LOOPBACK, 0, "--console-port")
    access = door(lambda: "T0ken", Users(lambda: USERS, Attempts(Pauses())))
    server = listener(guarded(console(journal.path, checks(), Metrics()), access))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    yield Visitor(chromium, f"http://{LOOPBACK}:{sock.getsockname()[1]}")
    await stop(server, serving)


async def test_a_stranger_signs_in_and_out(stranger: Visitor) -> None:
    folder = pictures("sign-in")

    assert await stranger.troubles("sign_in.mjs", str(folder), "alice", "wonder:land") == []
    assert (folder / "sign-in-dark-390.png").exists()
