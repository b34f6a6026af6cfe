"""What the ledger knows of an object: its last changes, read from the journal beside, or from another server's API."""

from __future__ import annotations

import asyncio
import sqlite3
import ssl
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec

from app.core.moments import milliseconds
from app.core.recorded_changes import is_change
from app.store.database import StoreError
from app.store.encoding import UNREADABLE
from app.store.ledger import Ledger, Query

_SPAN: Final = timedelta(days=7)
_MOST: Final = 5
_PAGES: Final = 10
"""Pages that are read at most: behind failures of a Job of this name there may be changes of it."""

_SECONDS: Final = 2.0

Documents = list[dict[str, Any]]
RecentChanges = Callable[[str, str, str, datetime], Awaitable[Documents]]
"""Returns the newest five changes of an object (kind, namespace, name) in the week before a moment, newest first.

Where reading ends early, those found until then. Raises LookupError that says why none are known.
"""

_Cursor = TypeVar("_Cursor")


class _Page(msgspec.Struct):
    items: Documents
    next: str | None = None


_pages: Final = msgspec.json.Decoder(_Page)


def in_journal(path: Path) -> RecentChanges:
    """Read from the journal of this process."""

    async def recent(kind: str, namespace: str, name: str, until: datetime) -> Documents:
        since, end = milliseconds(until - _SPAN), milliseconds(until)
        query = Query(kind=kind, namespace=namespace, name=name, dry_run=False, since=since, until=end)

        async def page(before: int | None) -> tuple[Documents, int | None]:
            try:
                return await asyncio.to_thread(_search, path, query, before)
            except (StoreError, sqlite3.Error, OSError, *UNREADABLE) as error:
                raise LookupError(f"the journal could not be read ({type(error).__name__})") from error

        return await _newest(page)

    return recent


def _no_token() -> str:
    return ""


def of_server(url: str, *, token: Callable[[], str] = _no_token, timeout_seconds: float = _SECONDS) -> RecentChanges:
    """Ask the API of the server whose console is at `url`, and wait no longer than that in all.

    `token` gives what the console wants to be shown at this moment; nothing is shown where it is empty.
    """
    # Made once: reading the public authorities takes longer than to ask.
    verify = ssl.create_default_context() if url.startswith("https:") else False

    async def recent(kind: str, namespace: str, name: str, until: datetime) -> Documents:
        asked = {"kind": kind, "namespace": namespace, "name": name, "dry_run": "false", "limit": str(_MOST)}
        asked |= {"since": _written(until - _SPAN), "until": _written(until)}
        deadline = asyncio.get_running_loop().time() + timeout_seconds
        known = {"Authorization": f"Bearer {shown}"} if (shown := token()) else {}
        async with httpx.AsyncClient(trust_env=False, verify=verify, timeout=timeout_seconds, headers=known) as client:

            async def page(cursor: str | None) -> tuple[Documents, str | None]:
                try:
                    async with asyncio.timeout_at(deadline):
                        return await _ask(client, url, asked if cursor is None else asked | {"cursor": cursor})
                except httpx.HTTPStatusError as error:
                    raise LookupError(_refused(error.response.status_code)) from error
                except (httpx.HTTPError, TimeoutError, *UNREADABLE) as error:
                    raise LookupError(f"the ledger at --ledger-url did not tell ({type(error).__name__})") from error

            return await _newest(page)

    return recent


async def _newest(page: Callable[[_Cursor | None], Awaitable[tuple[Documents, _Cursor | None]]]) -> Documents:
    """Return the first changes on pages that come newest first; entries that are none do not count."""
    found: Documents = []
    cursor: _Cursor | None = None
    for _ in range(_PAGES):
        try:
            documents, cursor = await page(cursor)
        except LookupError:
            if found:
                return found
            raise
        found = [*found, *filter(is_change, documents)][:_MOST]
        if len(found) == _MOST or cursor is None:
            return found
    if not found:
        raise LookupError("its newest entries are no changes, and older ones were not read")
    return found


def _search(path: Path, query: Query, before: int | None) -> tuple[Documents, int | None]:
    with closing(Ledger(path)) as ledger:
        page = ledger.search(query, limit=_MOST, before=before)
    return [msgspec.json.decode(item) for item in page.items], page.next


async def _ask(client: httpx.AsyncClient, url: str, asked: dict[str, str]) -> tuple[Documents, str | None]:
    answer = await client.get(url.rstrip("/") + "/api/v1/entries", params=asked)
    answer.raise_for_status()
    page = _pages.decode(answer.content)
    return page.items, page.next


def _refused(status: int) -> str:
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        return f"the ledger at --ledger-url wants its console's token, in --ledger-token-file (it answered {status})"
    return f"the ledger at --ledger-url did not tell (it answered {status})"


def _written(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds")
