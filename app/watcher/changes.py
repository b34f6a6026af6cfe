"""What the ledger knows of an object: its last changes, read from the journal beside, or from another server's API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

from app.core.moments import milliseconds
from app.store.ledger import Ledger, Query

_SPAN: Final = timedelta(days=7)
_MOST: Final = 5
_SECONDS: Final = 2.0

Documents = list[dict[str, Any]]
RecentChanges = Callable[[str, str, str, datetime], Awaitable[Documents]]
"""Returns the entries of an object (kind, namespace, name) in the week before a moment, newest first.

Raises LookupError that says why they are not known.
"""


def in_journal(path: Path) -> RecentChanges:
    """Read from the journal of this process."""

    async def recent(kind: str, namespace: str, name: str, until: datetime) -> Documents:
        return await asyncio.to_thread(_search, path, kind, namespace, name, until)

    return recent


def of_server(url: str) -> RecentChanges:
    """Ask the API of the server whose console is at `url`."""

    async def recent(kind: str, namespace: str, name: str, until: datetime) -> Documents:
        asked = {"kind": kind, "namespace": namespace, "name": name, "limit": str(_MOST)}
        asked |= {"since": _written(until - _SPAN), "until": _written(until)}
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=_SECONDS) as client:
                answer = await client.get(url.rstrip("/") + "/api/v1/entries", params=asked)
                answer.raise_for_status()
                items = answer.json()["items"]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise LookupError(f"the ledger at --ledger-url did not tell ({type(error).__name__})") from error
        return [item for item in items if isinstance(item, dict) and item.get("operation") != "FAILED"]

    return recent


def _search(path: Path, kind: str, namespace: str, name: str, until: datetime) -> Documents:
    query = Query(
        kind=kind, namespace=namespace, name=name, since=milliseconds(until - _SPAN), until=milliseconds(until)
    )
    with closing(Ledger(path)) as ledger:
        items = ledger.search(query, limit=_MOST).items
    documents = [msgspec.json.decode(item) for item in items]
    return [document for document in documents if document["operation"] != "FAILED"]


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
