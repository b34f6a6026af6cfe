"""All that a query finds, page by page: as much at once as memory should hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from app.core.moments import milliseconds
from app.store.reading import Page, Reader
from app.store.search.query import Query

AT_ONCE: Final = 500
"""Entries of a page, as many as a console elsewhere gives at once; of large ones there are fewer."""


def ending(query: Query, now: datetime) -> Query:
    """Return the query without what comes from now on: who reads all of it gets to an end."""
    until = milliseconds(now) + 1
    return msgspec.structs.replace(query, until=until if query.until is None else min(query.until, until))


def page_of(ledger: Reader, query: Query, before: int | None) -> Page:
    """Return the entries below a sequence number, newest first."""
    return ledger.search(query, limit=AT_ONCE, before=before)


def pages(ledger: Reader, query: Query) -> Iterator[list[msgspec.Raw]]:
    """Yield all entries of a query, newest first."""
    before: int | None = None
    while True:
        page = page_of(ledger, query, before)
        yield page.items
        before = page.next
        if before is None:
            return
