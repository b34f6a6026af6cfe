"""Lists objects and then watches them for ever, so that a handler's view follows the API server's state.

What the `kubernetes` package (37) offers was not good enough. `informer.SharedInformer` runs on the synchronous
client in a thread, lists everything in one answer, and keeps every object as a model in a cache. `aio.watch.Watch`
reads lines with aiohttp's `readline`, asks for no bookmarks and so falls behind on what seldom changes, makes a model
of each event (or decodes it to dicts and back), reconnects at once and without end when connections fail, ends with
an exception on a 410 after trying the same version again, and cannot tell a silent network from a quiet cluster.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Literal, Protocol

import msgspec
import structlog

from app.kube.advice import advice
from app.kube.backoff import Backoff
from app.kube.client import KubernetesApi
from app.kube.errors import ApiError, refusal
from app.kube.handling import UNREADABLE, GuardedHandler, Handler, metadata
from app.kube.listing import Listing
from app.kube.turns import Turns

LIFETIME: Final = (300, 600)
"""Seconds that one watch lasts, at random so that not all clients come back at once (client-go's minWatchTimeout)."""

PAGE_SIZE: Final = 200
"""Objects in one answer, which is in memory twice while it is read. client-go asks for 500: that costs 6 MB at the peak
for Jobs of 4 KB, and many are larger; a list of 20,000 takes as long either way.
"""

SHORT: Final = 1.0
"""A watch that ends sooner, without a line, counts as a failure: somebody in between does not want it."""

AHEAD: Final = 5
"""So many answers in a row that our version is too large, and we believe that the server was restored from a backup."""

logger = structlog.get_logger(__name__)


class WatchObserver(Protocol):
    """Counts what happens to watches. The reasons are few constant words, or an HTTP status."""

    def relisted(self, name: str, reason: str) -> None:
        """Count a list that had to be made again: expired, invalid, error_event or restored."""

    def reconnected(self, name: str, reason: str) -> None:
        """Count a watch that is resumed: ended, short, lost, or the status of an answer."""


class _Event(msgspec.Struct):
    type: Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR"]
    object: msgspec.Raw


_EVENT: Final = msgspec.json.Decoder(_Event)


class Watch:
    """Keeps a handler told of every object below a path such as `/apis/batch/v1/jobs`.

    `synced` is set when the first list is complete. `last_contact` is when the server was last heard, by `clock`
    (monotonic seconds). `last_error` says what is wrong now, None while all is well.
    """

    def __init__(
        self,
        api: KubernetesApi,
        path: str,
        handler: Handler,
        *,
        name: str,
        label_selector: str = "",
        field_selector: str = "",
        page_size: int = PAGE_SIZE,
        observer: WatchObserver | None = None,
        lifetime: tuple[int, int] = LIFETIME,
        backoff: Backoff | None = None,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.synced = asyncio.Event()
        self.last_contact: float | None = None
        self.last_error: str | None = None
        self._api = api
        self._path = path
        self._handler = GuardedHandler(handler, name)
        self._name = name
        selectors = {"labelSelector": label_selector, "fieldSelector": field_selector}
        self._selectors = {key: value for key, value in selectors.items() if value}
        self._page_size = page_size
        self._observer = observer
        self._lifetime = lifetime
        self._backoff = backoff or Backoff()
        self._pause = pause
        self._clock = clock
        self._version = ""
        self._listing: Listing | None = None

    async def run(self) -> None:
        """List and watch for ever; only cancellation ends it."""
        while True:
            try:
                await (self._follow() if self._version else self._list())
            except ApiError as error:
                await self._recover(error)
            except Exception as error:
                # The loop boundary: a bug of ours must not end the watch.
                logger.exception("watch failed", action="bug", watch=self._name)
                self.last_error = f"{type(error).__name__}: {error}"
                self._relist("invalid")
                await self._pause(self._backoff.next())

    async def _list(self) -> None:
        listing = self._listing or Listing(self._api, self._path, self._selectors, self._handler, self._page_size)
        self._listing = listing
        while await listing.page():
            self._heard()
        self._heard()
        self.synced.set()
        if listing.expired is not None:
            raise listing.expired
        self._listing = None
        if not listing.version:
            raise ApiError(f"GET {self._path}: the list has no resourceVersion")
        self._version = listing.version

    async def _follow(self) -> None:
        async with self._api.stream(self._path, self._watch_parameters()) as lines:
            self._heard()
            fruitful = await self._read(lines)
        self._reconnect("ended" if fruitful else "short")
        if not fruitful:
            self.last_error = f"WATCH {self._path}: it ended at once, without an event"
            await self._pause(self._backoff.next())

    async def _read(self, lines: AsyncIterator[bytes]) -> bool:
        """Return whether the watch was worth its connection: it showed something, or it lasted."""
        begun, fruitful = self._clock(), False
        turns = Turns()  # one chunk of bytes may hold hundreds of lines, between which nothing is waited for
        try:
            async for line in lines:
                self._heard()
                fruitful = self._line(line) or fruitful
                await turns.give()
        finally:
            fruitful = fruitful or self._clock() - begun >= SHORT
            if fruitful:
                self._backoff.reset()
        return fruitful

    def _watch_parameters(self) -> dict[str, str | int]:
        return {
            **self._selectors,
            "watch": "true",
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": random.randint(*self._lifetime),  # noqa: S311  spreads load, keeps no secret
        }

    def _heard(self) -> None:
        self.last_contact = self._clock()
        self.last_error = None

    def _line(self, line: bytes) -> bool:
        try:
            event = _EVENT.decode(line)
        except UNREADABLE as error:
            logger.warning("event not understood", action="skip", watch=self._name, error=str(error))
            return False
        if event.type == "ERROR":
            raise self._error_event(event.object)
        if event.type != "BOOKMARK":
            self._handler.changed(event.type, event.object)
        self._version = metadata(event.object).resource_version or self._version
        return True

    def _error_event(self, status: msgspec.Raw) -> ApiError:
        error = refusal(f"WATCH {self._path}", status)
        if not (error.is_gone or error.is_version_ahead):
            # What the server meant to say instead of it is unknown.
            self._relist("error_event")
        return error

    async def _recover(self, error: ApiError) -> None:
        verb = "watch" if self._version else "list"
        self.last_error = advice(error, verb, self._path)
        wait = self._backoff.next(error.retry_after)
        logger.warning(
            "watch interrupted", action="retry", watch=self._name, verb=verb, error=self.last_error, wait_seconds=wait
        )
        reason = self._reason_to_relist(error)
        if reason:
            self._relist(reason)
        elif self._version:
            self._reconnect(str(error.status or "lost"))
        await self._pause(wait)

    def _reason_to_relist(self, error: ApiError) -> str:
        if error.is_gone:
            return "expired"
        if error.is_version_ahead and self._backoff.failures >= AHEAD:
            return "restored"
        return "invalid" if error.is_invalid else ""

    def _relist(self, reason: str) -> None:
        if not (self._version or self._listing):
            return
        self._version = ""
        self._listing = None
        if self._observer is not None:
            self._observer.relisted(self._name, reason)

    def _reconnect(self, reason: str) -> None:
        if self._observer is not None:
            self._observer.reconnected(self._name, reason)
