"""The journal: appends that are durable when they return, and the queue of deliveries.

One thread owns the writing connection. All that waits at one moment shares one transaction and one sync (group
commit), so the price of durability is paid per batch: what one turn of the event loop brought, and what came while the
writer was busy. Rows of a batch go in as multi-row inserts: a statement per row would give up and win back the
interpreter lock each time, which under load costs more than the insert.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec
import structlog

from app.core.delivery import Addressee
from app.store.database import FILE_NAME, StoreError, Synchronous, connect_writer, locked

logger = structlog.get_logger(__name__)

T = TypeVar("T")
Appended = Literal["recorded", "pending", "lost"]
"""What became of a record: durable; waiting for the disk; given up because too much waits already."""

_BATCH: Final = 256
_ROWS: Final = 64
"""Rows that one statement inserts, at most."""

_COLUMNS: Final = 7
_INSERT: Final = "INSERT INTO entries (seq, kind, namespace, name, username, operation, body) VALUES "
_DELIVERY: Final = """
    INSERT INTO deliveries (seq, ordinal, sink, state, created_at, updated_at, next_attempt_at, last_error, fold)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_RETRY_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0)
_REFUSALS: Final = (sqlite3.IntegrityError, sqlite3.DataError, sqlite3.ProgrammingError, sqlite3.InterfaceError)


class EntryRow(msgspec.Struct, frozen=True):
    """A row of `entries`, and the random bits of the entry's id, which are kept with its findings."""

    seq: int
    kind: str
    namespace: str
    name: str
    username: str
    operation: str
    body: bytes
    random: int


class FindingRow(msgspec.Struct, frozen=True):
    """A row of `findings`, with the sinks that are to get it, or would be if that were not withheld."""

    ordinal: int
    body: bytes
    addressees: tuple[Addressee, ...]

    @property
    def sinks(self) -> tuple[str, ...]:
        """The sinks that are to get it."""
        return tuple(each.sink for each in self.addressees if not each.withheld)


class Record(msgspec.Struct, frozen=True):
    """What is appended at once: an entry, its findings, and their deliveries."""

    entry: EntryRow
    findings: tuple[FindingRow, ...] = ()


class JournalObserver:
    """What the journal reports while it works; called in the writer's thread. Does nothing by default."""

    def committed(self, entries: int, seconds: float) -> None:
        """Report a transaction that was committed, with the number of entries in it."""

    def failed(self, error: str) -> None:
        """Report a transaction that will be tried again."""

    def lost(self, entries: int, reason: str) -> None:
        """Report entries that will never be written."""


class _Append(msgspec.Struct, eq=False):
    record: Record
    size: int
    deadline: float
    answer: Callable[[Appended], None] | None


class _Call(msgspec.Struct, Generic[T], eq=False):
    work: Callable[[sqlite3.Connection], T]
    future: asyncio.Future[T]
    result: T | None = None


_Batch = list["_Append | _Call[Any]"]
_Committed = tuple[_Batch, frozenset[str]]
"""A batch, and the sinks that it has deliveries for."""


class Journal:
    """The writing side of the store. `start` and every coroutine belong to one event loop.

    `append` answers "recorded" once the record is durable, "pending" where that takes longer than `commit_budget`
    seconds: then the record stays queued and is written as soon as the disk allows it. Beyond `max_pending_bytes` of
    waiting records, and after `close`, new ones are "lost", which is logged and reported.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        synchronous: Synchronous = "FULL",
        commit_budget: float = 1.0,
        max_pending_bytes: int = 64 * 1024 * 1024,
        observer: JournalObserver | None = None,
        on_deliveries: Callable[[frozenset[str]], None] = lambda _sinks: None,
    ) -> None:
        self.path = data_dir / FILE_NAME
        self.last_error: str | None = None
        self.on_deliveries = on_deliveries
        self._lock_path = data_dir / "lock"
        self._synchronous: Synchronous = synchronous
        self._budget = commit_budget
        self._max_pending_bytes = max_pending_bytes
        self._observer = observer or JournalObserver()
        self._queue: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._next: _Batch = []
        self._writing = False
        self._armed = False
        self._idle = asyncio.Event()
        self._waiting: collections.deque[_Append] = collections.deque()
        self._timer: asyncio.TimerHandle | None = None
        self._pending_bytes = 0
        self._pending_since: float | None = None
        self._pending = 0
        self._give_up = threading.Event()

    def start(self) -> int:
        """Open the file, bring it up to date, start the writer; return the highest sequence number in it.

        Raises JournalInUseError where another process writes to this directory, OSError or sqlite3.Error where the
        directory cannot be used.
        """
        self._loop = asyncio.get_running_loop()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # What was changed, and by whom, is nobody else's business on this machine.
        self.path.touch(mode=0o600)
        self._lock = locked(self._lock_path)
        try:
            self._connection = connect_writer(self.path, self._synchronous)
        except BaseException:
            os.close(self._lock)
            raise
        (last,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)
        self._thread.start()
        return int(last)

    @property
    def pending(self) -> int:
        """The number of records that wait to be written."""
        return self._pending

    @property
    def pending_seconds(self) -> float:
        """For how long there has been a record that waits, without a commit in between."""
        since = self._pending_since
        return time.monotonic() - since if since is not None else 0.0

    @property
    def full(self) -> bool:
        """Whether so much waits to be written that new records are lost."""
        return self._pending_bytes >= self._max_pending_bytes

    def submit(self, record: Record, answer: Callable[[Appended], None]) -> None:
        """Write the record; call `answer` once, in the event loop, with what the class says of `append`."""
        if self.full:
            reason = "shutdown" if self._give_up.is_set() else "queue full"
            self._observer.lost(1, reason)
            logger.error("entry lost", action="lost", reason=reason, sequence=record.entry.seq)
            answer("lost")
            return
        now = self._loop.time()
        item = _Append(record, _size(record), now + self._budget, answer)
        self._pending += 1
        self._pending_bytes += item.size
        if self._pending_since is None:
            self._pending_since = time.monotonic()
        if self.last_error is None:
            self._waiting.append(item)
            if self._timer is None:
                self._start_timer()
        else:
            # The disk refuses at the moment: waiting would only slow the cluster down.
            _answer(item, "pending")
        self._take(item)

    async def append(self, record: Record) -> Appended:
        """Write the record; see the class for what the answer means."""
        future: asyncio.Future[Appended] = self._loop.create_future()
        self.submit(record, future.set_result)
        return await asyncio.shield(future)

    async def call(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run `work` in the writer's thread and in a transaction; return its result once that is committed.

        `work` may run more than once, where a commit fails; what it raises is raised here, and undoes what it did.
        Raises StoreError after `close`.
        """
        if self._give_up.is_set():
            raise StoreError("the journal is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._take(_Call(work, future))
        return await future

    def _take(self, item: _Append | _Call[Any]) -> None:
        self._next.append(item)
        self._arm()

    def _arm(self) -> None:
        if self._next and not self._armed and not self._writing:
            self._armed = True
            self._loop.call_soon(self._hand_over)

    def _hand_over(self) -> None:
        """Give what this turn of the event loop brought to the writer."""
        self._armed = False
        self._writing = True
        self._queue.put(self._next[:_BATCH])
        self._next = self._next[_BATCH:]

    async def close(self, timeout_seconds: float) -> int:
        """Write what waits and close the file; return how many records could not be written in that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                while self._writing or self._next:
                    self._idle.clear()
                    await self._idle.wait()
        self._give_up.set()
        self._max_pending_bytes = 0  # nobody would write what comes now: from here on the journal is full
        self._queue.put(None)
        await self._loop.run_in_executor(None, self._thread.join, 1.0)
        if self._timer is not None:
            self._timer.cancel()
        lost = self._pending
        if lost:
            self._observer.lost(lost, "shutdown")
            logger.error("entries lost", action="lost", reason="shutdown", entries=lost)
            self._answer_late("lost")
        os.close(self._lock)
        return lost

    def _start_timer(self) -> None:
        self._timer = self._loop.call_later(self._budget / 20, self._tick)

    def _tick(self) -> None:
        """Answer for records whose budget is used up; one timer for all of them, and none where nothing waits."""
        now = self._loop.time()
        while self._waiting and (self._waiting[0].answer is None or self._waiting[0].deadline <= now):
            _answer(self._waiting.popleft(), "pending")
        self._timer = None
        if self._waiting:
            self._start_timer()

    def _write(self) -> None:
        """Run the writer: commit one batch after another. Ends with the file closed."""
        while (batch := self._queue.get()) is not None:
            done: list[_Committed] = []
            if not self._commit_until_done(batch, done):
                break
            self._to_loop(self._finish, done)
        self._connection.close()

    def _commit_until_done(self, batch: _Batch, done: list[_Committed]) -> bool:
        attempt = 0
        while True:
            try:
                done.append((batch, self._commit(batch)))
            except Exception as error:  # noqa: BLE001  the writer must outlive whatever one item brings
                self._rollback()
                if _is_refusal(error):
                    return self._commit_one_by_one(batch, done, error)
                self._report_failure(str(error), batch)
                delay = _RETRY_SECONDS[min(attempt, len(_RETRY_SECONDS) - 1)]
                attempt += 1
                if self._give_up.wait(delay):
                    return False
            else:
                return True

    def _commit_one_by_one(self, batch: _Batch, done: list[_Committed], error: Exception) -> bool:
        if len(batch) == 1:
            self._refuse(batch[0], error)
            return True
        outcomes = [self._commit_until_done([item], done) for item in batch]
        return all(outcomes)

    def _commit(self, batch: _Batch) -> frozenset[str]:
        """Write the batch; return the sinks that it has deliveries for."""
        started = time.perf_counter()
        appends = [item for item in batch if isinstance(item, _Append)]
        if len(appends) == len(batch) <= _ROWS and not any(append.record.findings for append in appends):
            # One statement is a transaction by itself: the lock of the interpreter is won back once instead of thrice.
            _insert_entries(self._connection, appends)
            sinks: frozenset[str] = frozenset()
        else:
            sinks = self._transact(batch, appends)
        self._observer.committed(len(appends), time.perf_counter() - started)
        if self.last_error is not None:
            logger.warning("journal recovered", action="recovered")
            self.last_error = None
        return sinks

    def _transact(self, batch: _Batch, appends: list[_Append]) -> frozenset[str]:
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        for start in range(0, len(appends), _ROWS):
            _insert_entries(connection, appends[start : start + _ROWS])
        sinks: set[str] = set()
        for append in appends:
            if append.record.findings:
                sinks |= _insert_findings(connection, append.record)
        for item in batch:
            if isinstance(item, _Call):
                item.result = item.work(connection)
        connection.execute("COMMIT")
        return frozenset(sinks)

    def _finish(self, done: list[_Committed]) -> None:
        """Take the writer back; runs in the event loop."""
        self._writing = False
        for batch, sinks in done:
            self._settle(batch, sinks)
        self._idle.set()
        self._arm()

    def _settle(self, batch: _Batch, sinks: frozenset[str], answer: Appended = "recorded") -> None:
        """Answer everybody whose item was committed, or refused for good."""
        for item in batch:
            if isinstance(item, _Append):
                self._pending -= 1
                self._pending_bytes -= item.size
                _answer(item, answer)
            elif not item.future.done():
                item.future.set_result(item.result)
        waiting = self._waiting
        while waiting and waiting[0].answer is None:
            waiting.popleft()
        self._pending_since = time.monotonic() if self._pending else None
        if sinks:
            self.on_deliveries(sinks)

    def _report_failure(self, error: str, batch: _Batch) -> None:
        if self.last_error != error:
            logger.error("journal cannot write", action="retry", error=error, entries=len(batch))
        self.last_error = error
        self._observer.failed(error)
        self._to_loop(self._answer_late)

    def _answer_late(self, answer: Appended = "pending") -> None:
        while self._waiting:
            _answer(self._waiting.popleft(), answer)

    def _refuse(self, item: _Append | _Call[Any], error: Exception) -> None:
        """Give up one item that the database will never take, so that it holds up no other."""
        if isinstance(item, _Call):
            self._to_loop(_fail, item.future, error)
            return
        self._observer.lost(1, "refused")
        logger.error("entry lost", action="lost", reason="refused", error=type(error).__name__)
        self._to_loop(self._settle, [item], frozenset(), "lost")

    def _rollback(self) -> None:
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                logger.warning("rollback failed", action="rollback", error=str(error))

    def _to_loop(self, callback: Callable[..., None], *arguments: Any) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:  # the event loop is gone; the rows are committed all the same
            logger.debug("event loop closed before its answer", action="close")


def _is_refusal(error: Exception) -> bool:
    """Tell what will never be taken from a disk that refuses at the moment."""
    return not isinstance(error, sqlite3.Error) or isinstance(error, _REFUSALS)


def _size(record: Record) -> int:
    size = len(record.entry.body)
    for finding in record.findings:
        size += len(finding.body)
    return size


def _answer(item: _Append, result: Appended) -> None:
    """Answer for an item, if nobody has yet."""
    if item.answer is not None:
        answer, item.answer = item.answer, None
        answer(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _insert_entries(connection: sqlite3.Connection, appends: Sequence[_Append]) -> None:
    values = [value for append in appends for value in msgspec.structs.astuple(append.record.entry)[:_COLUMNS]]
    connection.execute(_insertion(len(appends)), values)


@functools.lru_cache(maxsize=_ROWS)
def _insertion(rows: int) -> str:
    return _INSERT + ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * rows)


def _insert_findings(connection: sqlite3.Connection, record: Record) -> set[str]:
    """Insert the findings of one record and a delivery for each of their sinks; return the sinks that are told."""
    seq, random, sinks = record.entry.seq, record.entry.random, set[str]()
    now = time.time_ns() // 1_000_000
    for finding in record.findings:
        connection.execute("INSERT INTO findings VALUES (?, ?, ?, ?)", (seq, finding.ordinal, random, finding.body))
        sinks.update(finding.sinks)
        connection.executemany(_DELIVERY, [(seq, finding.ordinal, *_row(each, now)) for each in finding.addressees])
    return sinks


def _row(addressee: Addressee, now: int) -> tuple[str, str, int, int, int, str, str]:
    state = "withheld" if addressee.withheld else "pending"
    return addressee.sink, state, now, now, max(now, addressee.after), addressee.withheld, addressee.fold
