"""`/api/v1/stream`: entries as they come, as server-sent events.

Format: https://html.spec.whatwg.org/multipage/server-sent-events.html. Nothing is added to the way of a review: whoever
listens has the journal read a few times a second, which finds the newest entry in a tenth of a millisecond.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import closing
from typing import Final

import msgspec
import structlog
from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import StreamingResponse

from app.core.viewer import Viewer
from app.remote import wire
from app.store.database import StoreError
from app.store.reading import Position
from app.web.health import Health
from app.web.ledgers import Ledgers, is_local, ledgers_of, viewer_of
from app.web.places import Places
from app.web.ui import data
from app.web.ui.filters import FilterError, Filters, understood

logger = structlog.get_logger(__name__)

PATH: Final = "/api/v1/stream"
MOST_LISTENERS: Final = 100
"""Listeners at the same time, of which who sees only some namespaces has a quarter at most."""

_AT_ONCE: Final = 200
"""Entries that are read together while the ledger is followed."""

_LOOK_SECONDS: Final = 0.25
_RIGHTS_ROUNDS: Final = 20
"""Rounds after which it is asked whether who listens still may: a browser comes again, with what it may see then."""

_SILENCE_ROUNDS: Final = 60
"""Rounds without an entry after which a comment says that the connection lives: proxies end silent ones."""

_VIEWS: Final = ("entry", "id")
_HEADERS: Final = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}


class Wish(msgspec.Struct, frozen=True, kw_only=True):
    """What a listener wants: entries, or only their ids, that match, after a position; of all replicas, or locally."""

    filters: Filters
    view: str
    after: Position
    viewer: Viewer
    still: Callable[[], Awaitable[bool]]
    is_local: bool = False


class Stream:
    """Tells listeners what comes, until they leave or the process is to end."""

    def __init__(self, ledgers: Ledgers, health: Health) -> None:
        self.places = Places(MOST_LISTENERS, MOST_LISTENERS // 4)
        self._ledgers = ledgers
        self._health = health

    async def events(self, wish: Wish) -> AsyncGenerator[bytes, None]:
        """Yield events, and a comment in long silences."""
        with self.places.place(wish.viewer):
            yield b"retry: 2000\n\n"
            try:
                async for event in self._events(wish):
                    yield event
            except (StoreError, sqlite3.Error) as error:
                # The browser comes again by itself.
                logger.error("ledger cannot be read", action="stream", error=str(error))  # noqa: TRY400  no bug to trace

    async def _events(self, wish: Wish) -> AsyncGenerator[bytes, None]:
        last, quiet, rounds = wish.after, 0, 0
        while not self._health.draining:
            before, rounds = last, rounds + 1
            if rounds % _RIGHTS_ROUNDS == 0 and not await wish.still():
                return
            last, came = await asyncio.to_thread(_came, self._ledgers, wish, last)
            for number, entry in enumerate(came, start=1):
                # Who comes back after some of them gets these again rather than never the others.
                yield _event(entry, wish.view, last if number == len(came) else before)
            quiet = 0 if came else quiet + 1
            if quiet == _SILENCE_ROUNDS:
                quiet = 0
                yield b": still here\n\n"
            await asyncio.sleep(_LOOK_SECONDS if last == before else 0)


def router(ledgers: Ledgers, health: Health) -> APIRouter:
    """Return the route. A stream ends when the process does, so that nobody waits for it."""
    told = Stream(ledgers, health)
    # Without an end it is none of the answers that the OpenAPI document describes.
    routes = APIRouter(include_in_schema=False)

    @routes.get(PATH)
    async def stream(request: Request) -> StreamingResponse:
        wish = await _wish(request)
        if full := told.places.full(wish.viewer):
            raise HTTPException(503, f"{full} pages listen already; close some")
        return StreamingResponse(told.events(wish), media_type="text/event-stream", headers=_HEADERS)

    return routes


async def _wish(request: Request) -> Wish:
    """Return what a listener wants; raises HTTPException 400 that says what is wrong."""
    view = request.query_params.get("view", "entry")
    after = request.headers.get("last-event-id") or request.query_params.get("after", "")
    if view not in _VIEWS:
        raise HTTPException(400, f"view takes {' or '.join(_VIEWS)}")
    try:
        filters = understood(request.query_params, beside=("view", "after"))
        position = wire.position_of(after) if after else await asyncio.to_thread(_position, request)
        return Wish(
            filters=filters,
            view=view,
            after=position,
            viewer=viewer_of(request),
            still=request.state.still,
            is_local=is_local(request),
        )
    except FilterError as error:
        raise HTTPException(400, str(error)) from error
    except ValueError as error:
        raise HTTPException(400, "after takes the id of an entry, or the id of an event") from error


def _position(request: Request) -> Position:
    with closing(ledgers_of(request).open(viewer_of(request), is_local=is_local(request))) as ledger:
        return ledger.position()


def _came(ledgers: Ledgers, wish: Wish, last: Position) -> tuple[Position, list[msgspec.Raw]]:
    # A connection for each look: one that is kept could be closed by the loop while a thread still reads.
    with closing(ledgers.open(wish.viewer, is_local=wish.is_local)) as ledger:
        return ledger.follow(wish.filters.query, last, _AT_ONCE)


def _event(entry: msgspec.Raw, view: str, position: Position) -> bytes:
    """Return one event, whose id is where to go on; JSON has no line break, which would end it."""
    shown = bytes(entry) if view == "entry" else msgspec.json.encode({"id": data.id_of(entry)})
    return b"id: %s\nevent: entry\ndata: %s\n\n" % (wire.written_position(position).encode(), shown)
