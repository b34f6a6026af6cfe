"""What `route test` is asked about: an AdmissionReview or an entry of the ledger, and what becomes of it."""

from __future__ import annotations

import asyncio
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from app.audit.failed_jobs import OPERATION, FailureRules, situation_of
from app.audit.recorder import Recorder, Rules
from app.cli.output import journal_path
from app.config.model import Config
from app.config.yaml_lines import YamlError, parse
from app.core.change import Entry
from app.core.explanation import Explanation, explain, explain_failed_job
from app.core.facts import NamespaceLabels
from app.core.identity import EntryIds
from app.core.job_report import FailedJob
from app.core.jobs import Failure, JobHead, failure
from app.core.paths import compile_pattern
from app.core.redact import Redactor
from app.core.retold import retold
from app.core.review import Change, MalformedReviewError, Review, decode, interpret
from app.store.encoding import read_entry
from app.store.journal import Appended, Record
from app.store.ledger import Ledger

STDIN: Final = "-"

_DRY_RUN: Final = "it is a dry run: nothing is stored, and nobody is told, whatever stands here"
_RETOLD: Final = (
    "an entry of an update holds what changed, not the object: its annotations and other fields are not known"
)
_NO_STATUS: Final = "changes of the status are in an entry only with record.status: true"
_NOT_AGAIN: Final = "sinks that were told of that one were not told of this one, whatever stands here"
_JOB: Final = (
    "an entry holds the Job alone: its Pods, their logs and its Events are attached when it fails; rate limits are not"
    " considered"
)


class SubjectError(ValueError):
    """What was named cannot be read, or is neither a review nor an entry; the message says what to name."""


class Circumstances(msgspec.Struct, frozen=True):
    """What routing depends on beside the configuration. Without `at`, an entry's own time counts, or else `now`."""

    namespaces: NamespaceLabels
    now: datetime
    at: datetime | None


class Case(msgspec.Struct, frozen=True):
    """A change or failed Job as an entry, what is made of it at a moment, and what should be known beside it."""

    entry: Entry
    explanation: Explanation
    at: datetime
    notes: tuple[str, ...] = ()

    @property
    def nobody(self) -> bool:
        """Whether nobody is told, whatever the explanation says."""
        return self.entry.dry_run


def read_subject(target: str, data_dir: Path | None) -> Review | Entry:
    """Return the review or entry in a file, of standard input (`-`), or of the ledger by the beginning of its id.

    Raises SubjectError, OSError, and what reading the journal raises.
    """
    if target == STDIN:
        return _document(sys.stdin.buffer.read(), "standard input")
    path = Path(target)
    if path.is_file():
        return _document(path.read_bytes(), target)
    if path.suffix or len(path.parts) > 1:
        raise SubjectError(f"{target}: there is no such file")
    return _entry_of_ledger(target, data_dir)


def _entry_of_ledger(target: str, data_dir: Path | None) -> Entry:
    with closing(Ledger(journal_path(data_dir))) as ledger:
        try:
            found = ledger.find(target)
        except ValueError as error:
            raise SubjectError(f"{target[:40]!r} is neither a file nor the beginning of an entry's id") from error
    if len(found) != 1:
        number, remedy = ("several", "; write more of it") if found else ("no", "")
        raise SubjectError(f"{number} entries begin with {target!r}{remedy}")
    return msgspec.json.decode(found[0], type=Entry)


def _document(content: bytes, name: str) -> Review | Entry:
    try:
        value = parse(content).value
    except YamlError as error:
        line, column = error.place
        raise SubjectError(f"{name}:{line}:{column}: {error}") from error
    if isinstance(value, dict) and "request" in value:
        try:
            return decode(msgspec.json.encode(value))
        except MalformedReviewError as error:
            raise SubjectError(f"{name}: {error}") from error
    if isinstance(value, dict) and {"operation", "resource", "user"} <= value.keys():
        try:
            return msgspec.convert(value, Entry)
        except msgspec.ValidationError as error:
            raise SubjectError(f"{name}: is no entry: {error}") from error
    raise SubjectError(
        f"{name}: holds neither an AdmissionReview nor one entry, as `entries show ID --output json` prints it"
    )


def case_of(subject: Review | Entry, config: Config, cluster: str, circumstances: Circumstances) -> Case:
    """Return what becomes of a review or an entry under a configuration; raises SubjectError for what says nothing."""
    if isinstance(subject, Review):
        return _case_of_review(subject, config, cluster, circumstances)
    at = circumstances.at or _moment(subject.at) or circumstances.now
    if subject.operation == OPERATION:
        return _case_of_job(subject, config, cluster, circumstances.namespaces, at)
    playbooks = config.compile(circumstances.namespaces)
    change = retold(subject)
    notes = [_RETOLD, *([] if config.record.status else [_NO_STATUS])] if subject.operation == "UPDATE" else []
    return Case(
        entry=subject,
        explanation=explain(playbooks, change, redactor(config), subject.cluster or cluster, at),
        at=at,
        notes=(*([_DRY_RUN] if subject.dry_run else []), *notes, *_echoes(subject)),
    )


def _case_of_review(review: Review, config: Config, cluster: str, circumstances: Circumstances) -> Case:
    playbooks, at = config.compile(circumstances.namespaces), circumstances.at or circumstances.now
    hiding = redactor(config).for_one_review()
    change = interpret(review)
    explanation = explain(playbooks, change, hiding, cluster, at)
    recorded = bool(explanation.told) or config.record.compile(circumstances.namespaces)(change)
    rules = Rules(
        selects=lambda _: True,
        keeps_status=config.record.status,
        evaluate=lambda _change, _redactor: explanation.told,
        redactor=hiding,
        cluster=cluster,
    )
    notes = [_DRY_RUN] if change.dry_run else []
    return Case(
        entry=_recorded(review, rules),
        explanation=explanation,
        at=at,
        notes=(*notes, *([] if recorded else [_unrecorded(change)])),
    )


def _echoes(entry: Entry) -> Iterator[str]:
    """Say what the noise rules made of it: they do not decide here, since they depend on what came before."""
    for word, of in (("repeats", entry.repeat_of), ("follows from", entry.story)):
        if of:
            yield f"it {word} entry {of}: {_NOT_AGAIN}"


def _unrecorded(change: Change) -> str:
    unchanged = change.operation == "UPDATE" and not change.deltas and not change.truncated
    return f"it does not enter the ledger: {'nothing changed' if unchanged else 'see `record` in the configuration'}"


class _Kept:
    """A journal that keeps the last record."""

    record: Record | None = None

    def submit(self, record: Record, answer: Callable[[Appended], None]) -> None:
        self.record = record
        answer("recorded")


def _recorded(review: Review, rules: Rules) -> Entry:
    """Have the review recorded as if it had come in: what sinks get is made from the entry."""
    kept = _Kept()

    async def record() -> None:
        await Recorder(kept, rules, EntryIds(), lambda: secrets.randbits(62)).record(lambda: review)

    asyncio.run(record())
    if kept.record is None:
        raise SubjectError("the review cannot be recorded; the log says why")
    return read_entry(kept.record.entry.body)


def _case_of_job(entry: Entry, config: Config, cluster: str, namespaces: NamespaceLabels, at: datetime) -> Case:
    if entry.object is msgspec.UNSET:
        raise SubjectError("the entry of the failed Job lacks its object")
    rules = FailureRules(
        playbooks=config.compile(namespaces), redactor=redactor(config), cluster=entry.cluster or cluster
    )
    failed = FailedJob(document=entry.object, failure=_failure(entry.object))
    situation = situation_of(failed, rules, withheld=(), now=at)
    return Case(entry, explain_failed_job(rules.playbooks, situation, rules.redactor), at, (_JOB,))


def _failure(document: Mapping[str, Any]) -> Failure:
    try:
        return failure(msgspec.convert(document, JobHead)) or Failure()
    except msgspec.ValidationError:
        return Failure()


def redactor(config: Config) -> Redactor:
    """Return a redactor as the program uses it, but for the key: fingerprints are those of this run alone."""
    redact = config.global_config.redact
    return Redactor(
        secrets.token_bytes(32),
        field_patterns=map(compile_pattern, redact.field_patterns),
        value_patterns=redact.compiled_values(),
    )


def _moment(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
