"""`/export.csv`, `/export.jsonl` and `/api/v1/export`: all entries of the filters, as a file."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar, get_args

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from app.core import export
from app.core import text as plain
from app.core.export import MEDIA_TYPES, Format, Rows
from app.core.moments import moment_at
from app.core.viewer import Viewer
from app.store.database import StoreError
from app.store.paging import ending, page_of
from app.store.reading import Reader
from app.store.search.query import Query as LedgerQuery
from app.web.api import FAULTS, entry_query
from app.web.download import Download, attached
from app.web.ledgers import Ledgers, Replica, UnknownReplicaError, is_local, ledgers_of, missing_of, viewer_of
from app.web.parameters import only_known
from app.web.places import Places
from app.web.ui.filters import FilterError, understood
from app.web.ui.routing import PageRoute

ROWS: Final[tuple[Rows, ...]] = get_args(Rows)
FORMATS: Final[tuple[Format, ...]] = get_args(Format)
MOST: Final = 4
"""Exports at the same time, of which who sees only some namespaces has half at most: each keeps a thread busy."""

Choice = TypeVar("Choice", bound=str)

_FILE: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "All entries, newest first, until the moment of the request.",
        "content": {
            media_type.partition(";")[0]: {"schema": {"type": "string"}} for media_type in MEDIA_TYPES.values()
        },
    },
    **FAULTS,
}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be exported, and who asked for it."""

    query: LedgerQuery
    format: Format
    rows: Rows
    viewer: Viewer
    replica: str = ""
    is_local: bool = False

    def opened(self, ledgers: Ledgers) -> Reader:
        """Return the ledger that is wanted; the caller closes it. Raises StoreError and UnknownReplicaError."""
        return ledgers.open(self.viewer, replica=self.replica, is_local=self.is_local)


class ReplicaMissingError(StoreError):
    """One of several replicas does not answer: what it recorded would be missing."""


class Exports:
    """Makes files, a few at the same time."""

    def __init__(self) -> None:
        self._places = Places(MOST, MOST // 2)

    async def file(self, request: Request, wish: Wish) -> Response:
        """Return the file.

        Raises StoreError, and HTTPException: 400 for a replica that there is not, 503 where one does not answer or too
        many files are made.
        """
        if full := self._places.full(wish.viewer):
            raise HTTPException(503, f"{full} exports are made already; try again when one has ended")
        ledgers = ledgers_of(request)
        try:
            with self._places.place(wish.viewer):  # also while it is begun: many may come at once
                name = await asyncio.to_thread(_file_name, ledgers, wish)
                if request.method == "HEAD":
                    return Response(headers=dict(attached(MEDIA_TYPES[wish.format], name)))
                first = await asyncio.to_thread(_lines, ledgers, wish, None)
        except UnknownReplicaError as error:
            raise HTTPException(400, str(error)) from error
        except ReplicaMissingError as error:
            raise HTTPException(503, str(error)) from error
        return Download(self._chunks(ledgers, wish, first), MEDIA_TYPES[wish.format], name)

    async def _chunks(
        self, ledgers: Ledgers, wish: Wish, first: tuple[bytes, int | None]
    ) -> AsyncGenerator[bytes, None]:
        with self._places.place(wish.viewer):
            yield export.beginning(wish.format, wish.rows)
            lines, before = first
            yield lines
            while before is not None:
                lines, before = await asyncio.to_thread(_lines, ledgers, wish, before)
                yield lines


def _lines(ledgers: Ledgers, wish: Wish, before: int | None) -> tuple[bytes, int | None]:
    """Return the lines of a page, and where the next one begins."""
    # A connection for each page: one that stays open would keep the journal from being tidied for as long.
    with closing(wish.opened(ledgers)) as ledger:
        page = page_of(ledger, wish.query, before)
        if missing := missing_of(ledger):
            raise ReplicaMissingError(_said(missing))
    return export.lines(page.items, wish.format, wish.rows), page.next


def _said(missing: Mapping[str, str]) -> str:
    named = "; ".join(f"{plain.one_line(name, 253)} {plain.one_line(why)}" for name, why in missing.items())
    return (
        f"what a replica has recorded would be missing: {named}; with replica=NAME you get what one of the others has"
    )


def _file_name(ledgers: Ledgers, wish: Wish) -> str:
    with closing(wish.opened(ledgers)) as ledger:
        since, until = period(ledger, wish.query)
    return f"kubewitness_{_minute(since)}_{_minute(until)}.{wish.format}"


def period(ledger: Reader, query: LedgerQuery) -> tuple[datetime, datetime]:
    """Return the times between which a query that has an end looks: from the oldest entry on, where it says no more."""
    until = query.until or 0
    begin = ledger.oldest() >> 12 or until
    return moment_at(min(max(begin, query.since or 0), until)), moment_at(until)


def _minute(moment: datetime) -> str:
    """Return a time that every file system takes: `2026-01-31T1405Z`."""
    return moment.strftime("%Y-%m-%dT%H%MZ")


RowsParameter = Annotated[Rows, Query(description="What a row of a table is: a changed field, or an entry.")]
FormatParameter = Annotated[Format, Query(description="A table for spreadsheets, or one JSON document for each line.")]


def router() -> APIRouter:
    """Return the routes of the API and of the pages."""
    exports, routes = Exports(), APIRouter()

    @routes.get("/api/v1/export", tags=["ledger"], dependencies=[Depends(only_known)], responses=_FILE)
    async def export_entries(
        request: Request,
        query: Annotated[LedgerQuery, Depends(entry_query)],
        format: FormatParameter = "csv",  # noqa: A002  what it is called in the address
        rows: RowsParameter = "changes",
        replica: Replica = "",
    ) -> Response:
        """Export all entries that the filters find, newest first. A body that does not end was not all of them."""
        wish = Wish(query=_now(query), format=format, rows=rows, replica=replica, **_asker(request))
        return await exports.file(request, wish)

    @routes.head("/api/v1/export", include_in_schema=False)
    async def export_head(request: Request) -> Response:
        return await exports.file(request, _wish(request, request.query_params.get("format", "csv")))

    pages = APIRouter(include_in_schema=False, route_class=PageRoute)

    @pages.api_route("/export.{format_}", methods=["GET", "HEAD"])
    async def export_file(request: Request, format_: str) -> Response:
        return await exports.file(request, _wish(request, format_))

    routes.include_router(pages)
    return routes


def _now(query: LedgerQuery) -> LedgerQuery:
    return ending(query, datetime.now(UTC))


def _wish(request: Request, format_: str) -> Wish:
    """Return what an address asks for; raises HTTPException 400 that says what is wrong."""
    try:
        filters = understood(request.query_params, beside=("rows", "format", "replica"))
    except FilterError as error:
        raise HTTPException(400, str(error)) from error
    rows = _chosen(request.query_params.get("rows", "changes"), ROWS)
    if rows is None:
        raise HTTPException(400, f"rows takes {' or '.join(ROWS)}")
    known = _chosen(format_, FORMATS)
    if known is None:
        raise HTTPException(404, f"there is no such file; there are export.{' and export.'.join(FORMATS)}")
    if filters.before is not None:
        raise HTTPException(400, "cursor is of pages; a file has all entries")
    replica = request.query_params.get("replica", "")
    return Wish(query=_now(filters.query), format=known, rows=rows, replica=replica, **_asker(request))


def _asker(request: Request) -> dict[str, Any]:
    return {"viewer": viewer_of(request), "is_local": is_local(request)}


def _chosen(text: str, choices: tuple[Choice, ...]) -> Choice | None:
    return next((each for each in choices if each == text), None)
