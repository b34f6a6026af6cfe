"""A journal with these entries, written at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from app.core.change import Entry
from app.core.identity import sequence_of
from app.store.encoding import entry_row
from app.store.journal import Record
from tests.store.observed import opened


async def keep(data_dir: Path, *records: Record) -> None:
    """Append the records to the journal of a folder."""
    async with opened(data_dir) as (journal, _):
        await asyncio.gather(*map(journal.append, records))


def keep_entries(data_dir: Path, entries: Iterable[Entry]) -> None:
    """Append the entries to the journal of a folder, in a loop of its own."""
    asyncio.run(keep(data_dir, *(Record(entry_row(sequence_of(entry.id), entry)) for entry in entries)))
