"""The recorder: turns a review into an entry with findings, and appends them to the journal."""

from __future__ import annotations

import asyncio
import functools
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal, Protocol

import msgspec
import structlog

from app.core.change import Entry, FieldChange, FindingSummary
from app.core.diff import Delta
from app.core.identity import EntryIds
from app.core.kinds import kind_of
from app.core.noise import Noise, NoiseOptions, Reason, Routed, Verdict
from app.core.redact import Redactor
from app.core.review import Change, Review, interpret
from app.store.encoding import entry_row, finding_body
from app.store.journal import Appended, FindingRow, Record

logger = structlog.get_logger(__name__)

_CROWD: Final = 32
_LINGER_SECONDS: Final = 0.002
"""How many reviews are worked on together at most, and how long a crowd may take to gather."""

_MS: Final = 1_000_000
"""Nanoseconds of a millisecond."""

_REMEMBERED_REVIEWS: Final = 4096
_REMEMBERED_KINDS: Final = 4096
_LONGEST_NAME: Final = 512
"""What is remembered between reviews comes from outside: nothing longer is kept."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """What the configuration says, compiled; replaced as a whole when the configuration changes.

    `selects` never takes an update that changes nothing, or only the status unless `keeps_status`.
    """

    selects: Callable[[Change], bool]
    keeps_status: bool
    evaluate: Callable[[Change, Redactor], Sequence[Routed]]
    redactor: Redactor
    cluster: str
    noise: NoiseOptions = NoiseOptions()


class Journal(Protocol):
    """Where records go."""

    def submit(self, record: Record, answer: Callable[[Appended], None]) -> None:
        """Append the record; call `answer` once with whether it is durable, waits, or could not be kept."""


Result = Appended | Literal["ignored", "fault"]


class Answer(msgspec.Struct, frozen=True):
    """The review that was read, and what became of it: the id of its entry, and whether that is durable already.

    `ignored` is a review with nothing to record, `fault` one that met an error of this program.
    """

    review: Review
    result: Result
    entry_id: str = ""


class _Seen(msgspec.Struct, eq=False):
    """What became of a review uid, once that is known; until then, who waits for it. Keeps no review longer."""

    waiting: list[tuple[Review, asyncio.Future[Answer]]]
    result: Result | None = None
    entry_id: str = ""


class Recorder:
    """Records reviews under the current rules. Belongs to one event loop.

    `kinds` are those of custom resources, by group and plural, that earlier entries know. `on_quieted` is called for
    each delivery that the rules on noise withhold or hold.
    """

    def __init__(
        self,
        journal: Journal,
        rules: Rules,
        ids: EntryIds,
        random: Callable[[], int],
        kinds: Mapping[tuple[str, str], str] | None = None,
        on_quieted: Callable[[Reason], None] = lambda _reason: None,
    ) -> None:
        self.rules = rules
        self._journal = journal
        self._ids = ids
        self._random = random
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._turn_since = 0.0
        self._turn: list[tuple[Callable[[], Review], asyncio.Future[Answer]]] = []
        self._kinds = dict(kinds or {})
        self._noise = Noise()
        self._on_quieted = on_quieted

    def record(self, read: Callable[[], Review]) -> Awaitable[Answer]:
        """Read a review and append what it says, once per review uid; raises what `read` raises.

        A review that the API server sends again (client-go repeats a call after 429 and 5xx) is recorded once. What
        comes in one turn of the event loop is worked on together, from reading to the journal's row: code and data of a
        step are then still in the processor's caches for the next review, which saves a good part of the time.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        if not self._turn:
            self._turn_since = loop.time()
            loop.call_soon(self._work, 1)
        self._turn.append((read, future))
        return future

    def _work(self, seen: int) -> None:
        """Work on what has gathered, unless the event loop's turn brought more and may bring more still."""
        size = len(self._turn)
        loop = asyncio.get_running_loop()
        if seen < size < _CROWD and loop.time() - self._turn_since < _LINGER_SECONDS:
            loop.call_soon(self._work, size)
            return
        turn, self._turn = self._turn, []
        for read, future in turn:
            try:
                review = read()
            except Exception as error:  # noqa: BLE001  told to who sent it, and to nobody else in this turn
                if not future.done():
                    future.set_exception(error)
                continue
            first = self._seen.get(review.request.uid)
            if first is None:
                first = _Seen([(review, future)])
                self._remember(review.request.uid, first)
                self._append(review, first)
            elif first.result is None:
                first.waiting.append((review, future))
            else:
                _tell(future, Answer(review, first.result, first.entry_id))

    def _append(self, review: Review, seen: _Seen) -> None:
        uid = review.request.uid
        try:
            made = self._made(review, seen)
            if made is None:
                self._settle(uid, seen, "", "ignored")
            else:
                entry_id, record = made
                self._journal.submit(record, functools.partial(self._settle, uid, seen, entry_id))
        except Exception:
            # A fault of ours must never become an error of the cluster: the answer stays "allowed".
            logger.exception("review not recorded", action="lost", reason="fault", uid=uid[:64])
            self._settle(uid, seen, "", "fault")

    def _settle(self, uid: str, seen: _Seen, entry_id: str, result: Result) -> None:
        if result in ("lost", "fault"):
            self._noise.clear()  # nothing may be withheld because of an entry that does not exist
            entry_id = ""
            self._seen.pop(uid, None)
        seen.result, seen.entry_id = result, entry_id
        waiting, seen.waiting = seen.waiting, []
        for review, future in waiting:
            _tell(future, Answer(review, result, entry_id))

    def _made(self, review: Review, seen: _Seen) -> tuple[str, Record] | None:
        try:
            return self._record_of(review)
        except RecursionError:
            self._noise.clear()
            truncated = _without_objects(review)
            seen.waiting = [(truncated, future) for _, future in seen.waiting]
            return self._record_of(truncated)

    def _record_of(self, review: Review) -> tuple[str, Record] | None:
        """Return what is to be appended, with the entry's id; raises RecursionError for what is nested too deeply."""
        rules = self.rules
        change = self._interpret(review)
        redactor = rules.redactor if change.operation == "UPDATE" else rules.redactor.for_one_review()
        routed = () if change.dry_run else rules.evaluate(change, redactor)
        now = time.time_ns()
        story = "" if change.dry_run or routed else self._noise.notice(change, review.request, rules.noise, now // _MS)
        if not routed and not rules.selects(change):
            return None
        deltas = self._recorded_deltas(change, bool(routed), rules)
        sequence, entry_id = self._ids.next(now // _MS, self._random())
        entry = _entry(entry_id, now, review.request.uid, change, deltas, routed, redactor, rules.cluster)
        if routed:
            verdict = self._noise.judge(change, review.request, routed, entry_id, rules.noise, now // _MS)
            return entry_id, self._told_record(sequence, entry, routed, verdict)
        if story:
            entry = msgspec.structs.replace(entry, story=story)
        return entry_id, Record(entry_row(sequence, entry))

    def _told_record(self, sequence: int, entry: Entry, routed: Sequence[Routed], verdict: Verdict) -> Record:
        entry = msgspec.structs.replace(
            entry, repeat_of=verdict.repeat_of or msgspec.UNSET, story=verdict.story or msgspec.UNSET
        )
        findings = tuple(
            FindingRow(ordinal, finding_body(each.finding), addressees)
            for ordinal, (each, addressees) in enumerate(zip(routed, verdict.addressees, strict=True))
        )
        for reason in verdict.quieted:
            self._on_quieted(reason)
        return Record(entry_row(sequence, entry), findings)

    def _interpret(self, review: Review) -> Change:
        change = interpret(review, self._kinds)
        request = review.request
        if not request.sub_resource and len(self._kinds) < _REMEMBERED_KINDS:
            place = (request.resource.group, request.resource.resource)
            if kind_of(*place) is None and len(place[0] + place[1] + request.kind.kind) <= _LONGEST_NAME:
                self._kinds[place] = request.kind.kind
        return change

    def _recorded_deltas(self, change: Change, has_findings: bool, rules: Rules) -> tuple[Delta, ...]:
        """Leave out status, unless it is wanted, or is what a finding is about."""
        if rules.keeps_status:
            return change.deltas
        shown = tuple([delta for delta in change.deltas if not delta.path or delta.path[0] != "status"])
        return change.deltas if has_findings and not shown else shown

    def _remember(self, uid: str, seen: _Seen) -> None:
        if len(uid) <= _LONGEST_NAME:
            self._seen[uid] = seen
        if len(self._seen) > _REMEMBERED_REVIEWS:
            self._seen.popitem(last=False)


def _tell(future: asyncio.Future[Answer], answer: Answer) -> None:
    """Answer who still waits; a client that has gone has cancelled its future."""
    if not future.done():
        future.set_result(answer)


def _without_objects(review: Review) -> Review:
    request = msgspec.structs.replace(review.request, object=None, old_object=None)
    return Review(request, review.api_version, truncated=True)


@functools.lru_cache(maxsize=2)
def _second(unix_seconds: int) -> str:
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def _entry(
    entry_id: str,
    now: int,
    review_uid: str,
    change: Change,
    deltas: tuple[Delta, ...],
    routed: Sequence[Routed],
    redactor: Redactor,
    cluster: str,
) -> Entry:
    kind = change.resource.kind
    changes: tuple[FieldChange, ...] = tuple([redactor.change(kind, delta) for delta in deltas])
    return Entry(
        id=entry_id,
        at=f"{_second(now // 1_000_000_000)}.{now // 1000 % 1_000_000:06d}Z",
        cluster=cluster,
        operation=change.operation,
        dry_run=change.dry_run,
        resource=change.resource,
        user=redactor.user(change.user),
        field_manager=change.field_manager,
        actor=change.actor,
        labels=redactor.strings(change.labels),
        changes=changes,
        patch=tuple(redactor.patch(deltas, changes)),
        findings=tuple(
            FindingSummary(each.finding.playbook, each.finding.title, each.finding.severity.value) for each in routed
        ),
        object=_kept_object(change, redactor),
        truncated=True if change.truncated else msgspec.UNSET,
        review_uid=review_uid,
    )


def _kept_object(change: Change, redactor: Redactor) -> dict[str, Any] | msgspec.UnsetType:
    """Keep what was there, or came, where there is no old and new to tell apart."""
    if change.old is not None and change.new is not None:
        return msgspec.UNSET
    document = change.new if change.new is not None else change.old
    return msgspec.UNSET if document is None else redactor.object(change.resource.kind, document)
