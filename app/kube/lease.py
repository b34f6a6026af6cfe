"""Leases of the Kubernetes API, and who of several replicas leads.

`kubernetes.aio.leaderelection` (version 37) is not used: it catches ApiException alone, so that a refused connection
ends it, and it waits for an answer as long as the HTTP client does, whatever the deadline. It measures time by the wall
clock, writes local time as UTC, ends when the lead is lost, and never gives a Lease back.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final, Protocol

import msgspec
import structlog

from app.kube.errors import ApiError

JITTER: Final = 1.2
"""Those who do not lead wait up to this much longer than the retry period, as in client-go (`JitterFactor`)."""

LONGEST_WAIT: Final = 4
"""Times our own `lease_duration` for which a silent holder is believed, whatever the Lease says. All replicas have the
same terms, those of another version similar ones; a Lease that says more was edited, and would stop the telling."""

MOST_TRANSITIONS: Final = 2**31 - 1
"""`leaseTransitions` is an int32: the API server refuses more."""

RELEASE_TIMEOUT: Final = timedelta(seconds=3)
_log = structlog.get_logger(__name__)


class LeaseApi(Protocol):
    """What is needed of a Kubernetes API client; failures are ApiError."""

    async def get(self, path: str, /) -> bytes:
        """Return the object at this path."""
        ...

    async def send(self, method: str, path: str, body: bytes, /) -> bytes:
        """Write the object, and return it as stored."""
        ...


class LeaseSpec(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What an election reads and writes of `spec`; every field may be absent or null."""

    holder_identity: str | None = None
    lease_duration_seconds: int | None = None
    acquire_time: str | None = None
    renew_time: str | None = None
    lease_transitions: int | None = None


class LeaseDocument(msgspec.Struct, frozen=True, kw_only=True):
    """A Lease as it is stored; what others wrote into it stays as it is."""

    metadata: dict[str, Any]
    spec: dict[str, Any] | None = None

    @property
    def is_new(self) -> bool:
        """Whether it is still to be created."""
        return not self.metadata.get("resourceVersion")

    @property
    def record(self) -> LeaseSpec:
        """The fields of the election."""
        return msgspec.convert(self.spec or {}, LeaseSpec)

    def with_record(self, record: LeaseSpec) -> LeaseDocument:
        """Return the Lease with these fields of the election."""
        return msgspec.structs.replace(self, spec={**(self.spec or {}), **msgspec.to_builtins(record)})

    def annotation(self, name: str) -> str | None:
        """Return the text of an annotation, if there is one."""
        found = (self.metadata.get("annotations") or {}).get(name)
        return found if isinstance(found, str) else None

    def with_annotation(self, name: str, text: str) -> LeaseDocument:
        """Return the Lease with this annotation."""
        annotations = {**(self.metadata.get("annotations") or {}), name: text}
        return msgspec.structs.replace(self, metadata={**self.metadata, "annotations": annotations})


class Lease:
    """One coordination.k8s.io/v1 Lease of the API. Failures are ApiError."""

    def __init__(self, api: LeaseApi, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"

    def __str__(self) -> str:
        return f"Lease {self._namespace}/{self._name}"

    async def get(self) -> LeaseDocument:
        """Return what is stored, or a new document if there is nothing."""
        try:
            return _read(await self._api.get(f"{self._folder}/{self._name}"))
        except ApiError as error:
            if not error.is_not_found:
                raise
        return LeaseDocument(metadata={"name": self._name, "namespace": self._namespace})

    async def put(self, document: LeaseDocument) -> LeaseDocument:
        """Write the document if nobody wrote or deleted it since it was read, and return it; otherwise it conflicts."""
        kind = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
        body = msgspec.json.encode({**kind, **msgspec.to_builtins(document)})
        if document.is_new:
            return _read(await self._api.send("POST", self._folder, body))
        try:
            return _read(await self._api.send("PUT", f"{self._folder}/{self._name}", body))
        except ApiError as error:
            if not error.is_not_found:
                raise
            raise ApiError(error.message, status=HTTPStatus.CONFLICT, reason="Conflict") from error

    def explain(self, error: Exception) -> str:
        """Say what is wrong with this Lease, and what to do if a right is missing."""
        if isinstance(error, ApiError) and error.is_forbidden:
            return (
                f"{self}: not allowed; grant get, create and update on leases (coordination.k8s.io) "
                f"in namespace {self._namespace} ({error})"
            )
        return f"{self}: {error if isinstance(error, ApiError) else 'no answer in time'}"


def _read(body: bytes) -> LeaseDocument:
    """Read a Lease; raises ApiError for what is none, such as a proxy's page."""
    try:
        document = msgspec.json.decode(body, type=LeaseDocument)
        msgspec.convert(document.spec or {}, LeaseSpec)
    except (ValueError, RecursionError) as error:
        raise ApiError(f"the answer is no Lease: {error}") from error
    if document.is_new:
        raise ApiError("the answer is no Lease: it has no metadata.resourceVersion")
    # The server keeps its own when none are sent, and they can be larger than all else.
    metadata = {name: value for name, value in document.metadata.items() if name != "managedFields"}
    return msgspec.structs.replace(document, metadata=metadata)


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Times of an election, client-go's by default; the same for all replicas. Clocks and randomness are passed in.

    `clock` gives monotonic seconds, and alone decides. `wall` is only written, for people to read.
    """

    lease_duration: timedelta = timedelta(seconds=15)
    renew_deadline: timedelta = timedelta(seconds=10)
    retry_period: timedelta = timedelta(seconds=2)
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], datetime] = _utc_now
    random: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        if not self.lease_duration > self.renew_deadline > self.retry_period * JITTER > timedelta(0):
            raise ValueError(f"lease_duration must be longer than renew_deadline, that than {JITTER} x retry_period")

    @property
    def patience(self) -> float:
        """Seconds that one try may take: half the deadline, so that one lost answer does not cost the lead."""
        return self.renew_deadline.total_seconds() / 2


class Election:
    """At most one of the candidates for a Lease leads at a time.

    Who leads renews the Lease, and stops leading `renew_deadline` after the last renewal that succeeded was sent,
    before anybody can take the Lease for expired: that is `lease_duration` after it was last seen to change, by the
    observer's own monotonic clock. `identity` must be unique among the candidates; one that comes back under the same
    identity goes on at once. `last_error` says why the Lease could not be read or written the last time, if so.
    """

    def __init__(self, api: LeaseApi, *, namespace: str, name: str, identity: str, terms: Terms | None = None) -> None:
        if not identity:
            raise ValueError("an empty identity means that nobody leads; give each replica its own name")
        self.identity = identity
        self.last_error: str | None = None
        self._lease = Lease(api, namespace, name)
        self._terms = terms or Terms()
        self._document: LeaseDocument | None = None
        self._observed = LeaseSpec()
        self._observed_at = self._terms.clock()
        self._leads_until: float | None = None
        self._rests_until = -math.inf
        self._turn = asyncio.Lock()
        self._won, self._lost, self._stopped = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._lost.set()

    @property
    def leading(self) -> bool:
        """Whether this candidate leads now; also right while the event loop has been busy for long."""
        return self._leads_until is not None and self._terms.clock() < self._leads_until

    @property
    def holder(self) -> str:
        """Who held the Lease when it was last seen; empty if nobody did, or nothing was seen yet."""
        return self._observed.holder_identity or ""

    async def wait_until_leading(self) -> None:
        """Return when this candidate leads."""
        await self._won.wait()

    async def wait_until_lost(self) -> None:
        """Return when this candidate does not lead, also if it never did."""
        await self._lost.wait()

    async def run(self) -> None:
        """Win and lose for ever, whatever goes wrong; `release` ends it. When cancelled, stop leading."""
        try:
            while not self._stopped.is_set():
                async with self._turn:
                    await self._try()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._pause()):
                        await self._stopped.wait()
        finally:
            self._lose()

    async def release(self) -> None:
        """Stop leading for good and give the Lease back, so that another need not wait until it expires.

        Call it when the work of the leader has ended. Raises nothing: what cannot be given back expires.
        """
        self._stopped.set()
        await self._end_lead()

    async def step_down(self, seconds: float) -> None:
        """Stop leading and give the Lease back, and leave it to others for so many seconds.

        For a leader that cannot do its work. Raises nothing: what cannot be given back expires.
        """
        self._rests_until = self._terms.clock() + seconds
        _log.warning(
            "leadership given up", action="step down", lease=str(self._lease), identity=self.identity, seconds=seconds
        )
        await self._end_lead()

    async def _end_lead(self) -> None:
        self._lose()
        try:
            async with asyncio.timeout(RELEASE_TIMEOUT.total_seconds()), self._turn:
                await self._give_back()
        except (ApiError, TimeoutError) as error:
            _log.warning("lease not released", action="leave", lease=str(self._lease), error=self._lease.explain(error))

    async def _try(self) -> None:
        """Win, renew or see who leads; a failure is kept in `last_error`, and ends the lead when its time is up."""
        if not self.leading:
            self._lose()
        try:
            async with asyncio.timeout(self._patience()):
                await self._acquire_or_renew()
            self._fail(None)
        except (ApiError, TimeoutError) as error:
            # A conflict only says that somebody else was faster; the next look shows who.
            conflict = isinstance(error, ApiError) and error.is_conflict
            self._fail(None if conflict else self._lease.explain(error))
        except Exception as error:  # noqa: BLE001  a loop boundary: without elections nobody tells
            _log.exception("election failing", action="bug", lease=str(self._lease))
            self._fail(f"{self._lease}: a fault that the log tells: {type(error).__name__}")

    def _patience(self) -> float:
        left = self._left()
        return self._terms.patience if left is None else min(self._terms.patience, left)

    def _pause(self) -> float:
        """Return seconds until the next try, so that a lead ends on time and candidates do not meet."""
        period = self._terms.retry_period.total_seconds()
        left = self._left()
        return period * (1 + JITTER * self._terms.random()) if left is None else min(period, left)

    def _left(self) -> float | None:
        return None if self._leads_until is None else max(self._leads_until - self._terms.clock(), 0)

    async def _acquire_or_renew(self) -> None:
        if self.leading and self._document is not None:
            # Most renewals find the Lease as they left it: one request. Whatever else is found out below.
            with contextlib.suppress(ApiError):
                return await self._hold(self._document)
        document = await self._lease.get()
        self._observe(document)
        if self._is_held_by_another() or self._is_resting:
            return self._lose()
        return await self._hold(document)

    def _observe(self, document: LeaseDocument) -> None:
        record = document.record
        if record != self._observed:
            self._observed_at = self._terms.clock()
        self._document, self._observed = document, record

    def _is_held_by_another(self) -> bool:
        usual = self._terms.lease_duration.total_seconds()
        duration = min(self._observed.lease_duration_seconds or usual, LONGEST_WAIT * usual)
        expired = self._terms.clock() >= self._observed_at + duration
        return self.holder not in {"", self.identity} and not expired

    @property
    def _is_resting(self) -> bool:
        return self._terms.clock() < self._rests_until

    async def _hold(self, document: LeaseDocument) -> None:
        # What others see to change, they see after this moment.
        sent = self._terms.clock()
        self._observe(await self._lease.put(document.with_record(self._claim(document))))
        self._win(sent + self._terms.renew_deadline.total_seconds())

    def _claim(self, document: LeaseDocument) -> LeaseSpec:
        now = _micro_time(self._terms.wall())
        before = document.record
        ours = before.holder_identity == self.identity
        changes = int(not ours and not document.is_new)
        return LeaseSpec(
            holder_identity=self.identity,
            lease_duration_seconds=math.ceil(self._terms.lease_duration.total_seconds()),
            acquire_time=(before.acquire_time if ours else None) or now,
            renew_time=now,
            lease_transitions=min((before.lease_transitions or 0) + changes, MOST_TRANSITIONS),
        )

    async def _give_back(self) -> None:
        document = await self._lease.get()
        self._observe(document)
        if self.holder == self.identity:
            # As client-go's ReleaseOnCancel: an empty holder, and a duration that is over at once for all readers.
            now = _micro_time(self._terms.wall())
            free = msgspec.structs.replace(
                document.record, holder_identity="", lease_duration_seconds=1, acquire_time=now, renew_time=now
            )
            self._observe(await self._lease.put(document.with_record(free)))
            _log.info("lease released", action="release", lease=str(self._lease), identity=self.identity)

    def _win(self, until: float) -> None:
        if self._stopped.is_set() or self._is_resting:
            return
        if self._leads_until is None:
            _log.info("leadership won", action="lead", lease=str(self._lease), identity=self.identity)
        self._leads_until = until
        self._lost.clear()
        self._won.set()

    def _lose(self) -> None:
        if self._leads_until is not None:
            _log.info(
                "leadership ended", action="follow", lease=str(self._lease), holder=self.holder, error=self.last_error
            )
        self._leads_until = None
        self._won.clear()
        self._lost.set()

    def _fail(self, error: str | None) -> None:
        if error and error != self.last_error:
            _log.warning("election failing", action="retry", lease=str(self._lease), error=error)
        self.last_error = error


def _micro_time(moment: datetime) -> str:
    """Return metav1.MicroTime: RFC 3339, UTC, always six digits."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
