"""Where the watcher looks for what changed: at --ledger-url with the token of the moment, else in its own journal."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.bootstrap.backbone import Backbone
from app.bootstrap.watcher_parts import WatcherParts
from app.settings import WatchSettings
from app.watcher.changes import RecentChanges
from tests.kube.api_server import document, serving
from tests.kube.clients import client

ABOUT = ("CronJob", "shop", "night", datetime(2026, 5, 1, tzinfo=UTC))


async def changes(folder: Path, **options: Any) -> RecentChanges:
    settings = WatchSettings(data_dir=folder, **options)
    backbone = Backbone(settings, lambda _config: None)
    await backbone.open()
    async with serving() as server, client(server, folder) as api:
        parts = WatcherParts(backbone, api, lambda _name: None)
        assert await backbone.journal.close(5) == 0
        return parts._changes()


async def test_another_servers_ledger_is_shown_the_token_of_the_file_as_it_is_at_that_moment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    async with serving() as server:
        server.otherwise = document({"items": []})
        recent = await changes(tmp_path, ledger_url=server.url, ledger_token_file=path)
        await recent(*ABOUT)
        path.write_text("t0ken\n")
        await recent(*ABOUT)

    assert [request.headers.get("authorization") for request in server.requests] == [None, "Bearer t0ken"]


async def test_without_a_file_no_token_is_shown(tmp_path: Path) -> None:
    async with serving(document({"items": []})) as server:
        await (await changes(tmp_path, ledger_url=server.url))(*ABOUT)

    [request] = server.requests
    assert "authorization" not in request.headers


async def test_without_a_url_its_own_journal_is_read(tmp_path: Path) -> None:
    assert await (await changes(tmp_path))(*ABOUT) == []
