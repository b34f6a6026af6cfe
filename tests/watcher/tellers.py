"""Tellers at work: replicas with journals of their own over one shared record, whose answers a test can spoil."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
import yaml
from typing_extensions import override

from app.audit.failed_jobs import FailureRules
from app.config.model import Config
from app.core import claims
from app.core.claims import Record
from app.core.identity import EntryIds
from app.core.job_report import FailedJob
from app.core.jobs import Failure
from app.core.redact import Redactor
from app.kube.errors import ApiError
from app.store.database import connect_reader
from app.store.encoding import inflated, read_entry
from app.store.journal import Journal
from app.watcher.jobs import FailedCandidate
from app.watcher.teller import Result, Teller
from tests.builders import KEY
from tests.store.observed import impatient, locked

NOW: Final = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)
GRACE: Final = timedelta(seconds=61)
SILENCE: Final = ApiError("PUT /leases: no answer", status=0)

PLAYBOOKS: Final = """
sinksConfig:
- stdout_sink: {name: out}
customPlaybooks:
- triggers: [{on_job_failure: {}}]
  actions: [{create_finding: {title: "Job $name failed", aggregation_key: job_failure}}, {job_info_enricher: {}}]
"""
RATE_LIMITED: Final = PLAYBOOKS.replace("on_job_failure: {}", "on_job_failure: {rate_limit: 600}")

STEPS: Final = [
    pytest.param(0, "before", id="before the claim"),
    pytest.param(0, "after", id="after the claim"),
    pytest.param(1, "before", id="after the commit"),
    pytest.param(1, "after", id="after it was settled"),
]
"""The writes of one failure: each may fail before or after it reached the record."""


def rules(text: str = PLAYBOOKS) -> FailureRules:
    """What a configuration says about failed Jobs."""
    config = Config.model_validate(yaml.safe_load(text))
    return FailureRules(playbooks=config.compile(), redactor=Redactor(KEY), cluster="test")


def candidate(name: str = "import", *, age: float = 5, listed: bool = False, document: bytes = b"") -> FailedCandidate:
    """A Job that failed `age` seconds before NOW; its uid is `uid-` and its name."""
    failed_at = NOW - timedelta(seconds=age)
    return FailedCandidate(
        uid=f"uid-{name}", namespace="shop", name=name, failed_at=failed_at, listed=listed, document=document
    )


def known(one: FailedCandidate, **fields: Any) -> FailedJob:
    """What is gathered of it."""
    metadata = {"uid": one.uid, "name": one.name, "namespace": one.namespace}
    failure = Failure(reason="BackoffLimitExceeded", at=one.failed_at)
    told: dict[str, Any] = {"document": {"metadata": metadata}, "failure": failure}
    return FailedJob(**told | fields)


class Signal:
    """Something happened: look again."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def touch(self) -> None:
        self._event.set()

    async def until(self, is_so: Callable[[], bool], seconds: float = 10) -> None:
        async with asyncio.timeout(seconds):
            while not is_so():
                self._event.clear()
                await self._event.wait()


class Stored:
    """The record in the cluster, as bytes, with its version."""

    def __init__(self, record: Record | None = None) -> None:
        self.version = 0
        self.document = None if record is None else claims.encode(record)

    @property
    def record(self) -> Record | None:
        return None if self.document is None else claims.decode(self.document)

    def write(self, record: Record) -> None:
        self.version += 1
        self.document = claims.encode(record)


class Shared:
    """One replica's way to the record: first with what it saw last, again where another was faster.

    `spoil` says what goes wrong, or what else happens, before or after a request is through.
    """

    def __init__(self, stored: Stored, signal: Signal) -> None:
        self.stored = stored
        self.start: Callable[[], Record] = Record
        self.calls: list[str] = []
        self.spoil: dict[tuple[str, int, str], BaseException | Callable[[], None]] = {}
        self._seen: tuple[int, Record | None] | None = None
        self._signal = signal

    def fail(self, call: str, number: int, when: str, error: BaseException | Callable[[], None] = SILENCE) -> None:
        """Let the request of this number, counted from 0, fail before or after it reached the record."""
        self.spoil[call, number, when] = error

    def count(self, call: str) -> int:
        return self.calls.count(call)

    async def read(self) -> Record | None:
        self._seen = None
        async with self._request("read"):
            self._seen = self.stored.version, self.stored.record
        return self._seen[1]

    async def update(self, change: Callable[[Record], Record | None], /) -> Record:
        while True:
            version, found = self._seen or (self.stored.version, self.stored.record)
            self._seen = None
            before = self.start() if found is None else found
            after = change(before)
            if after is None and found is not None:
                self._seen = version, found
                return found
            wanted = before if after is None else after
            async with self._request("update"):
                won = version == self.stored.version
                if won:
                    self.stored.write(wanted)
                written = self.stored.version
            if won:
                # By now others may have written again: what they wrote was not seen.
                self._seen = written, wanted
                return wanted

    @asynccontextmanager
    async def _request(self, call: str) -> AsyncIterator[None]:
        number = self.count(call)
        self.calls.append(call)
        await self._pass(call, number, "before")
        yield
        await self._pass(call, number, "after")
        self._signal.touch()

    async def _pass(self, call: str, number: int, when: str) -> None:
        await asyncio.sleep(0)
        self._signal.touch()
        spoil = self.spoil.get((call, number, when))
        if isinstance(spoil, BaseException):
            raise spoil
        if spoil is not None:
            spoil()


class Gathering:
    """Gathers what `known` says; the first times for a Job it may raise, and it can be held back."""

    def __init__(self, signal: Signal) -> None:
        self.begun: list[str] = []
        self.running = 0
        self.most = 0
        self.faults: Counter[str] = Counter()
        self.fields: dict[str, dict[str, Any]] = {}
        self.held: set[str] = set()
        self.candidates: dict[str, FailedCandidate] = {}
        self._signal = signal

    async def __call__(self, one: FailedCandidate) -> FailedJob:
        self.begun.append(one.name)
        self.candidates[one.name] = one
        self.running += 1
        self.most = max(self.most, self.running)
        self._signal.touch()
        try:
            await asyncio.sleep(0)
            if one.name in self.held:
                await asyncio.Event().wait()
        finally:
            self.running -= 1
        if self.faults[one.name]:
            self.faults[one.name] -= 1
            raise RuntimeError("a fault of ours")
        return known(one, **self.fields.get(one.name, {}))


class ObservedTeller(Teller):
    """Says when there is nothing more that it could do."""

    signal: Signal
    is_waiting = False

    @override
    async def _more(self) -> None:
        self.is_waiting = True
        self.signal.touch()
        await super()._more()
        self.is_waiting = False

    @property
    def is_quiet(self) -> bool:
        gathers = any(not task.done() for task in self._gatherings._tasks.values())
        return self.is_waiting and not self._wake.is_set() and not gathers


class Replica:
    """A teller with what is around it. `lives` says that its `run` goes on."""

    record_type: type[Shared] = Shared
    gathering_type: type[Gathering] = Gathering

    def __init__(
        self,
        journal: Journal,
        stored: Stored,
        *,
        identity: str = "a",
        text: str = PLAYBOOKS,
        last_sequence: int = 0,
    ) -> None:
        self.signal = Signal()
        self.journal = journal
        self.stored = stored
        self.identity = identity
        self.now = NOW
        self.leading = True
        self.given_up = 0
        self.newest_too_old: datetime | None = None
        self.results: list[Result] = []
        self.silent: list[str] = []
        self.released: list[str] = []
        self.rests: list[float] = []
        self.rested: asyncio.Event | None = None
        self.on_breath: Callable[[], None] = lambda: None
        self.shared = self.record_type(stored, self.signal)
        self.gathering = self.gathering_type(self.signal)
        self.ids = EntryIds(last_sequence)
        numbers = itertools.count()
        self.teller = ObservedTeller(
            record=self.shared,
            is_leading=lambda: self.leading,
            newest_too_old=lambda: self.newest_too_old,
            journal=journal,
            ids=self.ids,
            random=lambda: next(numbers),
            gather=self.gathering,
            rules=rules(text),
            identity=identity,
            max_age=HOUR,
            release=self._release,
            observer=self,
            give_up_lead=self._give_up_lead,
            clock=lambda: self.now,
            pause=self._pause,
        )
        self.teller.signal = self.signal
        self.shared.start = self.teller.baseline
        self._task: asyncio.Task[None] | None = None

    def decided(self, result: Result) -> None:
        self.results.append(result)
        self.signal.touch()

    def withheld(self, playbook: str) -> None:
        self.silent.append(playbook)

    def _release(self, uid: str) -> None:
        self.released.append(uid)
        self.signal.touch()

    async def _give_up_lead(self) -> None:
        self.given_up += 1
        self.leading = False
        self.signal.touch()

    async def _pause(self, seconds: float) -> None:
        """Rest for no time at all; where `rested` is set, as long as the test wants."""
        await asyncio.sleep(0)
        if self.teller.last_error is None:
            self.on_breath()
            return
        self.rests.append(seconds)
        self.signal.touch()
        if self.rested is not None:
            await self.rested.wait()

    def begin(self) -> None:
        self._task = asyncio.create_task(self.teller.run())
        self._task.add_done_callback(lambda _: self.signal.touch())

    @property
    def lives(self) -> bool:
        return self._task is not None and not self._task.done()

    async def end(self) -> None:
        """Cancel it, as the process does that ends; what it raised by itself is raised here."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def until(self, is_so: Callable[[], bool]) -> None:
        await self.signal.until(is_so)

    async def told(self, count: int = 1) -> None:
        """Wait until so many failures were told by this replica, and settled."""
        await self.until(lambda: self.results.count("told") >= count and self.is_settled)

    @property
    def is_settled(self) -> bool:
        return self.stored.record is not None and not self.stored.record.claims

    async def looks(self) -> None:
        """Wait until it has looked at the record again, and is done with what it found."""
        reads = self.shared.count("read")
        self.teller.lead()
        await self.until(lambda: self.shared.count("read") > reads and self.teller.is_quiet)

    @property
    def entries(self) -> list[str]:
        return entries(self.journal.path)


@asynccontextmanager
async def at_work(
    folder: Path, stored: Stored, *, begin: bool = True, journal: dict[str, Any] | None = None, **keywords: Any
) -> AsyncIterator[Replica]:
    """A replica with a journal in this folder; at the end it is cancelled, and its journal closed."""
    opened = Journal(folder, synchronous="NORMAL", **journal or {})
    opened.start()
    replica = Replica(opened, stored, **keywords)
    try:
        if begin:
            replica.begin()
        yield replica
        assert not begin or replica.lives, "nothing ends a teller"
    finally:
        await replica.end()
        await opened.close(5)


def entries(path: Path) -> list[str]:
    """Return the names of the Jobs that the entries of a journal are about, the oldest first."""
    with closing(connect_reader(path)) as connection:
        return [
            name for (name,) in connection.execute("SELECT name FROM entries WHERE operation = 'FAILED' ORDER BY seq")
        ]


def documents(path: Path) -> Iterator[dict[str, Any]]:
    """Return the entries as people get them."""
    with closing(connect_reader(path)) as connection:
        for (body,) in connection.execute("SELECT body FROM entries ORDER BY seq"):
            read_entry(body)
            yield msgspec.json.decode(inflated(body))


def titles(path: Path) -> list[list[str]]:
    """Return the titles of the findings of each entry."""
    return [[finding["title"] for finding in document["findings"]] for document in documents(path)]


def record(*told: FailedCandidate) -> Record:
    """Return a record that was begun before, in which these were told."""
    started = claims.baseline((), int(NOW.timestamp()))
    claimed = [
        claims.Claim(
            uid=each.uid,
            by="z",
            namespace=each.namespace,
            name=each.name,
            failed_at=int(each.failed_at.timestamp()),
            at=0,
        )
        for each in told
    ]
    with_claims, won = claims.claim(started, claimed)
    return claims.settle(with_claims, won)


def claimed(one: FailedCandidate, *, by: str, at: datetime = NOW) -> Record:
    """Return a record in which a failure is claimed and not told."""
    claim = claims.Claim(
        uid=one.uid,
        by=by,
        namespace=one.namespace,
        name=one.name,
        failed_at=int(one.failed_at.timestamp()),
        at=int(at.timestamp()),
    )
    return msgspec.structs.replace(claims.baseline((), int(NOW.timestamp())), claims=(claim,))


def claim_times(stored: Stored) -> list[datetime]:
    """Return since when there are claims."""
    assert stored.record is not None
    return [datetime.fromtimestamp(each.at, UTC) for each in stored.record.claims]


async def crash(folder: Path, stored: Stored, update: int, when: str, **keywords: Any) -> None:
    """Let a replica end like a killed process, before or after a write of the record reached it."""
    async with at_work(folder, stored, begin=False, **keywords) as replica:
        replica.shared.fail("update", update, when, asyncio.CancelledError())
        replica.begin()
        replica.teller.failed(candidate())
        await replica.until(lambda: not replica.lives)


@asynccontextmanager
async def waiting_for_the_disk(replica: Replica) -> AsyncIterator[None]:
    """Let a failure be claimed, and its entry wait for the disk meanwhile."""
    append, began = replica.journal.append, asyncio.Event()

    async def late(record: Any) -> Any:
        replica.journal.last_error = "the disk is full"
        answer = await append(record)
        began.set()
        return answer

    replica.journal.append = late  # type: ignore[method-assign]
    await impatient(replica.journal)
    with locked(replica.journal.path):
        replica.teller.failed(candidate())
        await began.wait()
        yield
