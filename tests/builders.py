"""One line to a valid object, keywords to bend it."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from app.audit.recorder import Answer, Recorder, Rules
from app.core.change import Entry, Resource, User
from app.core.delivery import Addressee
from app.core.finding import Finding
from app.core.identity import EntryIds
from app.core.noise import NoiseOptions, Reason, Routed
from app.core.record import Record as RecordRules
from app.core.redact import Redactor
from app.core.review import Change, Review, decode
from app.store.encoding import entry_row, finding_body, read_entry
from app.store.journal import Appended, FindingRow, Record

RECORDED_REVIEWS = Path(__file__).parent / "data" / "reviews-k8s-1.20"
KEY = b"k" * 32
START = 1_767_323_045_000
"""Unix milliseconds of 2026-01-02T03:04:05Z."""


def review_document(**request: Any) -> dict[str, Any]:
    """An AdmissionReview as the API server writes it: alice scales a Deployment, unless told otherwise."""
    fields = {
        "uid": "5b0a5ad1-0000-4000-8000-000000000001",
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"},
        "resource": {"group": "apps", "version": "v1", "resource": "deployments"},
        "name": "web",
        "namespace": "shop",
        "operation": "UPDATE",
        "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
        "object": {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 3}},
        "oldObject": {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 1}},
        "dryRun": False,
        "options": {"fieldManager": "kubectl-edit"},
    }
    return {"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1", "request": {**fields, **request}}


def make_body(**request: Any) -> bytes:
    """The bytes of an AdmissionReview."""
    return json.dumps(review_document(**request)).encode()


def make_review(**request: Any) -> Review:
    """A decoded AdmissionReview."""
    return decode(make_body(**request))


def about(kind: str, resource: str, group: str = "", **request: Any) -> dict[str, Any]:
    """The fields of a request about another kind."""
    return {
        "kind": {"group": group, "version": "v1", "kind": kind},
        "resource": {"group": group, "version": "v1", "resource": resource},
        **request,
    }


def recorded_review(name: str) -> Review:
    """A review that a real API server sent."""
    return decode((RECORDED_REVIEWS / f"{name}.json").read_bytes())


class Told(msgspec.Struct, frozen=True):
    """A finding with the sinks that are to get it."""

    finding: Finding
    sinks: Sequence[str] = ("stdout",)


def nobody(_change: Change, _redactor: Redactor) -> Sequence[Routed]:
    """Rules without playbooks."""
    return ()


def make_rules(
    *,
    evaluate: Callable[[Change, Redactor], Sequence[Routed]] = nobody,
    redactor: Redactor | None = None,
    noise: NoiseOptions | None = None,
    **record: Any,
) -> Rules:
    """The default rules; further keywords are those of `record` in the configuration."""
    selection = RecordRules(**record)
    return Rules(
        selects=selection.compile(),
        keeps_status=selection.status,
        evaluate=evaluate,
        redactor=redactor or Redactor(KEY),
        cluster="test",
        noise=noise or NoiseOptions(),
    )


class KeptRecords:
    """A journal in memory; `answers` are given in turn, then "recorded"."""

    def __init__(self, *answers: Appended) -> None:
        self.records: list[Record] = []
        self._answers: Iterator[Appended] = itertools.chain(answers, itertools.repeat("recorded"))

    def submit(self, record: Record, answer: Callable[[Appended], None]) -> None:
        self.records.append(record)
        answer(next(self._answers))

    @property
    def entries(self) -> list[Entry]:
        return [read_entry(record.entry.body) for record in self.records]


def make_recorder(
    journal: KeptRecords | None = None,
    rules: Rules | None = None,
    on_quieted: Callable[[Reason], None] = lambda _reason: None,
) -> Recorder:
    return Recorder(journal or KeptRecords(), rules or make_rules(), EntryIds(), lambda: 7, on_quieted=on_quieted)


def record(review: Review, rules: Rules | None = None) -> Entry | None:
    """Return the entry that a review leaves, None where it leaves none."""
    journal = KeptRecords()
    asyncio.run(sent(make_recorder(journal, rules), review))
    return journal.entries[0] if journal.records else None


async def sent(recorder: Recorder, review: Review) -> Answer:
    """Have a review recorded."""
    return await recorder.record(lambda: review)


def entry_of(review: Review, rules: Rules | None = None) -> Entry:
    """Return the entry that a review leaves; there must be one."""
    entry = record(review, rules)
    assert entry is not None
    return entry


_numbers = itertools.count()


def make_entry(*, at_milliseconds: int | None = None, **fields: Any) -> tuple[int, Entry]:
    """An entry and its sequence number; entries without a time of their own are a millisecond apart."""
    number = next(_numbers)
    at = START + number if at_milliseconds is None else at_milliseconds
    sequence, entry_id = EntryIds(last_sequence=(at << 12) + number % 4000).next(at, 7)
    defaults: dict[str, Any] = {
        "id": entry_id,
        "at": "2026-01-02T03:04:05.000000Z",
        "resource": Resource(group="apps", version="v1", kind="Deployment", namespace="shop", name="web"),
        "user": User(username="alice"),
    }
    return sequence, Entry(**{**defaults, **fields})


def make_record(*sinks: str | Addressee, finding: Finding | None = None, **fields: Any) -> Record:
    """A record for the journal; with sinks, it has a finding that they are to get."""
    sequence, entry = make_entry(**fields)
    told = finding or Finding(playbook="images", title="web changed")
    addressees = tuple(Addressee(each) if isinstance(each, str) else each for each in sinks)
    findings = (FindingRow(0, finding_body(told), addressees),) if sinks else ()
    return Record(entry_row(sequence, entry), findings)
