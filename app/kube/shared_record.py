"""What all replicas know, in an annotation of a Lease, written by its resourceVersion.

A Lease because its rights are needed for the election anyway, and because nothing in a cluster acts on one.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import structlog

from app.core.claims import NewerVersionError
from app.kube.errors import ApiError
from app.kube.lease import Lease, LeaseApi, LeaseDocument

ANNOTATION: Final = "kubewitness/failed-jobs"

MOST_CONFLICTS: Final = 20
FIRST_PAUSE: Final = 0.02
LONGEST_PAUSE: Final = 1.0
"""Seconds that a writer waits, at most, after its first conflict, and after any: a random part of them."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


# Without slots, which on Python 3.11 do not go with `Format[T](...)`.
@dataclass(frozen=True, kw_only=True)
class Format(Generic[T]):
    """How a shared document is written and read, and how it begins.

    `decode` raises NewerVersionError for what a later program has written, and other ValueErrors for what nobody can
    read. `start` is asked where there is no document.
    """

    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    start: Callable[[], T]


class SharedRecord(Generic[T]):
    """A document that all replicas change, in an annotation of a Lease: no change is lost or overwritten.

    What is found missing or unreadable, because somebody deleted or edited it, is written again by `update`: as this
    instance last saw it or, if it never did, as `form.start()` says, which must be safe (for claims: what has failed
    by then counts as told). So call `read` before the first of a series of updates, such as when the lead is won: it
    forgets what was seen before. What a later program has written is an ApiError of both, and stays as it is.
    `last_error` says why the last call failed, or that something unreadable was found.
    One instance makes its changes one after another.
    """

    def __init__(
        self,
        api: LeaseApi,
        *,
        namespace: str,
        name: str,
        form: Format[T],
        random: Callable[[], float] = random.random,
    ) -> None:
        self.last_error: str | None = None
        self._lease = Lease(api, namespace, name)
        self._form = form
        self._random = random
        self._stored: LeaseDocument | None = None
        self._known: T | None = None
        self._is_whole = False
        self._unreadable: str | None = None
        self._turn = asyncio.Lock()

    async def read(self) -> T | None:
        """Return the newest document, None if there is none that can be read. Raises ApiError."""
        async with self._turn, self._explained():
            self._known = None
            await self._look()
            return self._known

    async def update(self, change: Callable[[T], T | None]) -> T:
        """Write what `change` makes of the document, and return what is stored then.

        `change` may be called several times, each time with a newer document, and first with the one that was last
        seen: without a conflict this costs one request. It returns None where there is nothing to write. Raises
        ApiError, also after `MOST_CONFLICTS` in a row. Status 0 and 5xx leave open whether the change was written; the
        next call shows it.
        """
        async with self._turn, self._explained():
            conflicts = 0
            while True:
                try:
                    return await self._changed(self._stored or await self._look(), change)
                except ApiError as error:
                    conflicts += 1
                    if not error.is_conflict or conflicts == MOST_CONFLICTS:
                        raise
                self._stored = None
                await asyncio.sleep(self._random() * min(FIRST_PAUSE * 2**conflicts, LONGEST_PAUSE))

    async def _changed(self, stored: LeaseDocument, change: Callable[[T], T | None]) -> T:
        before = self._form.start() if self._known is None else self._known
        after = change(before)
        if after is None and self._is_whole:
            return before
        # What was missing is written even if nothing is added to it: it says what happened before.
        wanted = before if after is None else after
        self._stored = await self._lease.put(stored.with_annotation(ANNOTATION, self._form.encode(wanted).decode()))
        self._known, self._is_whole = wanted, True
        return wanted

    async def _look(self) -> LeaseDocument:
        document = await self._lease.get()
        text = document.annotation(ANNOTATION)
        self._is_whole = text is not None and self._decode(text)
        self._stored = document
        return document

    def _decode(self, text: str) -> bool:
        try:
            self._known = self._form.decode(text.encode())
        except NewerVersionError as error:
            raise ApiError(
                f"annotation {ANNOTATION} was written by a newer kubewitness: {error}; update this"
            ) from error
        except ValueError as error:
            self._unreadable = f"{self._lease}: annotation {ANNOTATION} cannot be read ({error}); it is written anew"
            _log.error("shared record unreadable", action="restore", lease=str(self._lease), error=str(error))
            return False
        return True

    @contextlib.asynccontextmanager
    async def _explained(self) -> AsyncIterator[None]:
        """Keep in `last_error` how it went; after whatever went wrong the Lease is looked at anew."""
        self._unreadable = None
        try:
            yield
        except BaseException as error:
            self._stored = None
            if isinstance(error, ApiError):
                self.last_error = self._lease.explain(error)
            raise
        self.last_error = self._unreadable
