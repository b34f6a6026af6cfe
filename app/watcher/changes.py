"""What the ledger knows of an object: its last changes, read from the journal beside, or from another server's API."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from app.core.moments import milliseconds
from app.store.database import StoreError
from app.store.encoding import UNREADABLE
from app.store.ledger import Ledger, Query

_SPAN: Final = timedelta(days=7)
_MOST: Final = 5
_SECONDS: Final = 2.0

Documents = list[dict[str, Any]]
RecentChanges = Callable[[str, str, str, datetime], Awaitable[Documents]]
"""Returns the entries of an object (kind, namespace, name) in the week before a moment, newest first.

Raises LookupError that says why they are not known.
"""


class _Page(msgspec.Struct):
    items: list[dict[str, Any]]


_pages: Final = msgspec.json.Decoder(_Page)


def in_journal(path: Path) -> RecentChanges:
    """Read from the journal of this process."""

    async def recent(kind: str, namespace: str, name: str, until: datetime) -> Documents:
        try:
            return await asyncio.to_thread(_search, path, kind, namespace, name, until)
        except (StoreError, sqlite3.Error, OSError, *UNREADABLE) as error:
            raise LookupError(f"the journal could not be read ({type(error).__name__})") from error

    return recent


def of_server(url: str, *, timeout_seconds: float = _SECONDS) -> RecentChanges:
    """Ask the API of the server whose console is at `url`, and wait no longer than that in all."""
    # Made once: reading the public authorities takes longer than to ask.
    verify = ssl.create_default_context() if url.startswith("https:") else False

    async def recent(kind: str, namespace: str, name: str, until: datetime) -> Documents:
        asked = {"kind": kind, "namespace": namespace, "name": name, "limit": str(_MOST)}
        asked |= {"since": _written(until - _SPAN), "until": _written(until)}
        try:
            async with asyncio.timeout(timeout_seconds), httpx.AsyncClient(trust_env=False, verify=verify) as client:
                answer = await client.get(url.rstrip("/") + "/api/v1/entries", params=asked, timeout=timeout_seconds)
                answer.raise_for_status()
            return _changes(_pages.decode(answer.content).items)
        except (httpx.HTTPError, TimeoutError, *UNREADABLE) as error:
            raise LookupError(f"the ledger at --ledger-url did not tell ({type(error).__name__})") from error

    return recent


def _search(path: Path, kind: str, namespace: str, name: str, until: datetime) -> Documents:
    query = Query(
        kind=kind, namespace=namespace, name=name, since=milliseconds(until - _SPAN), until=milliseconds(until)
    )
    with closing(Ledger(path)) as ledger:
        items = ledger.search(query, limit=_MOST).items
    return _changes([msgspec.json.decode(item) for item in items])


def _changes(documents: Documents) -> Documents:
    return [document for document in documents if document.get("operation") != "FAILED"]


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
