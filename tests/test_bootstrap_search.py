"""A running service keeps its search index up with the journal, and says how far behind it is."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path

from app.bootstrap.watcher import Watcher
from app.core.change import FieldChange
from app.settings import WatchSettings
from app.store.ledger import Ledger, Query
from app.store.search.file import beside, open_reader
from app.store.search.reader import opened
from app.web.health import Health
from tests.builders import make_record

IMAGE = FieldChange("spec.containers[web].image", "replace", "web:1", "web:2")
BEHIND = "kubewitness_search_behind_entries"


async def indexed(journal: Path, newest: int) -> None:
    """Wait until the index knows an entry."""
    while True:
        index = opened(journal)
        if index is not None:
            with closing(index):
                if index.newest >= newest:
                    return
        await asyncio.sleep(0.01)


async def no_console(_health: Health) -> None:
    """Answer nobody."""


async def test_what_is_recorded_is_indexed_soon(tmp_path: Path) -> None:
    backbone = Watcher(WatchSettings(data_dir=tmp_path, console_port=0)).backbone
    await backbone.open()
    await backbone.employ_sinks()
    await backbone.listen(no_console, {})
    backbone.begin()
    record = make_record(changes=(IMAGE,))

    await backbone.journal.append(record)
    async with asyncio.timeout(20):
        await indexed(backbone.journal.path, record.entry.seq)
        behind = backbone.metrics.registry.get_sample_value(BEHIND)
        await backbone.background.cancel()
        assert await backbone.close() == 0

    assert behind == 0
    with closing(Ledger(backbone.journal.path)) as ledger:
        assert len(ledger.search(Query(path="images"), limit=5).items) == 1
    with closing(open_reader(beside(backbone.journal.path))) as connection:
        assert connection.execute("SELECT count(*) FROM facts").fetchone() == (1,)
