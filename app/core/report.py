"""What an audit report says of a period: counted in one pass over its entries, in bounded memory.

Counts are of changes and of failed Jobs. What a dry run or a repeated review said is left out, and how many there were
is told. Lists hold the newest, and the number of all. Texts are harmless lines, ready to be escaped and shown.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

import msgspec

from app.core import text as plain
from app.core.actors import actor_kind
from app.core.change import FindingSummary
from app.core.report_calendar import Calendar
from app.core.working_hours import WorkingHours

MOST_LINES: Final = 300
"""Entries of each list: what fits on some ten pages of paper. The export has them all."""

MOST_NAMES: Final = 5000
"""Names that are counted one by one; those that first come after so many are counted together."""

OTHERS: Final = "(others)"
NOBODY: Final = ""
_NAME_LIMIT: Final = 120
_REASON_LIMIT: Final = 300

RBAC: Final = "rbac.authorization.k8s.io"
ADMISSION: Final = "admissionregistration.k8s.io"
SENSITIVE: Final = ("Roles and bindings", "Secrets", "Admission control", "Connections to Pods and Services")


class Resource(msgspec.Struct, frozen=True):
    """What is read of an entry's object."""

    group: str = ""
    kind: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""


class _User(msgspec.Struct):
    username: str = ""


class _Actor(msgspec.Struct):
    kind: str = ""


class _Glance(msgspec.Struct):
    """What is read of every entry; its field changes, patch and object are skipped."""

    id: str
    at: datetime
    resource: Resource
    user: _User
    cluster: str = ""
    operation: str = "UPDATE"
    dry_run: bool = False
    actor: _Actor = msgspec.field(default_factory=_Actor)
    field_manager: str = ""
    findings: list[FindingSummary] = []
    truncated: bool = False
    repeat_of: str = ""


class _Change(msgspec.Struct):
    new: Any = None


class _Failure(msgspec.Struct):
    changes: list[_Change] = []


class _Sort(NamedTuple):
    """What most changes share with others."""

    cluster: str
    namespace: str
    kind: str
    operation: str
    user: str
    is_human: bool


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An entry in a list; `about` is the reason of a failed Job, or what makes the entry sensitive."""

    id: str
    at: datetime
    operation: str
    kind: str
    namespace: str
    name: str
    user: str
    tool: str
    about: str = ""


class Listed(msgspec.Struct):
    """The newest entries of a sort, and how many there are."""

    lines: list[Line] = []
    total: int = 0

    def add(self, line: Line) -> None:
        """Count an entry, and keep it if there is room; the newest come first."""
        self.total += 1
        if len(self.lines) < MOST_LINES:
            self.lines.append(line)


class Count(msgspec.Struct):
    """How many changes, how many of them by people, and when the newest was."""

    total: int = 0
    people: int = 0
    last: datetime | None = None

    def add(self, is_human: bool, at: datetime) -> None:
        """Count a change; the newest come first."""
        self.total += 1
        self.people += is_human
        if self.last is None:
            self.last = at

    def merge(self, other: Count) -> None:
        """Add what was counted elsewhere."""
        self.total += other.total
        self.people += other.people
        self.last = max(filter(None, (self.last, other.last)), default=None)


class Counts(dict[Any, Count]):
    """Counts by name, of bounded number."""

    def of(self, name: Any) -> Count:
        """Return the count of a name, or of all that came too late to have their own."""
        found = self.get(name)
        if found is None:
            key = name if len(self) < MOST_NAMES else (*name[:-1], OTHERS) if isinstance(name, tuple) else OTHERS
            found = self.setdefault(key, Count())
        return found

    def ordered(self) -> list[tuple[Any, Count]]:
        """Return names and counts, most first."""
        return sorted(self.items(), key=lambda each: (-each[1].total, each[0]))


class Tally:
    """Counts entries, which come newest first, until it is finished. Not for concurrent use."""

    def __init__(self, hours: WorkingHours, calendar: Calendar) -> None:
        self.hours, self.calendar = hours, calendar
        self.changes = Count()
        self.clusters = Counts()
        self.namespaces, self.kinds, self.operations = Counts(), Counts(), Counts()
        self.people, self.controllers = Counts(), Counts()
        self.sensitive_by = Counts()
        self.findings = Counts()
        self.failures, self.after_hours, self.deletions, self.sensitive = Listed([]), Listed([]), Listed([]), Listed([])
        self.dry_runs = self.repeats = self.unreadable = self.truncated = 0
        # Most changes are alike: what they have in common is looked at once.
        self._alike: dict[_Sort, Count] = {}

    def add(self, documents: Iterable[bytes | msgspec.Raw]) -> None:
        """Count the next older entries, which are JSON."""
        for document in documents:
            try:
                entry = _glances.decode(document)
            except (msgspec.MsgspecError, ValueError):
                self.unreadable += 1
                continue
            self._count(entry, document)
        if len(self._alike) > MOST_NAMES:
            self.finish()

    def finish(self) -> None:
        """Have all that was added be in the counts."""
        for sort, count in self._alike.items():
            self.changes.merge(count)
            self.clusters.of(_short(sort.cluster)).merge(count)
            self.namespaces.of(_short(sort.namespace)).merge(count)
            self.kinds.of(_short(sort.kind)).merge(count)
            self.operations.of(_short(sort.operation)).merge(count)
            who = self.people if sort.is_human else self.controllers
            who.of(_short(sort.user)).merge(count)
        self._alike.clear()

    def _count(self, entry: _Glance, document: bytes | msgspec.Raw) -> None:
        if entry.dry_run:
            self.dry_runs += 1
        elif entry.repeat_of:
            self.repeats += 1
        else:
            self.truncated += entry.truncated
            for finding in entry.findings:
                self.findings.of((finding.severity, _short(finding.playbook))).add(False, entry.at)
            if entry.operation == "FAILED":
                self.failures.add(_line(entry, _reason(document)))
            else:
                self._count_change(entry)

    def _count_change(self, entry: _Glance) -> None:
        resource, user = entry.resource, entry.user.username
        is_human = (entry.actor.kind or actor_kind(user)) == "human"
        sort = _Sort(entry.cluster, resource.namespace, resource.kind, entry.operation, user, is_human)
        count = self._alike.get(sort)
        if count is None:
            count = self._alike[sort] = Count()
        count.add(is_human, entry.at)
        self.calendar.add(entry.at, is_human)
        if is_human:
            self._count_human(entry)
        if sensitive := sensitive_as(entry.operation, resource):
            self._count_sensitive(entry, sensitive, is_human)

    def _count_human(self, entry: _Glance) -> None:
        if not self.hours.covers(entry.at):
            self.after_hours.add(_line(entry))
        if entry.operation == "DELETE":
            self.deletions.add(_line(entry))

    def _count_sensitive(self, entry: _Glance, sensitive: str, is_human: bool) -> None:
        self.sensitive_by.of((sensitive, _short(entry.user.username))).add(is_human, entry.at)
        if is_human:
            self.sensitive.add(_line(entry, sensitive))


_glances: Final = msgspec.json.Decoder(_Glance)
_failures: Final = msgspec.json.Decoder(_Failure)


def sensitive_as(operation: str, resource: Resource) -> str:
    """Return which of `SENSITIVE` a change is of, empty for any other."""
    rights, secrets, admission, connections = SENSITIVE
    if operation == "CONNECT":
        return connections
    if resource.group == RBAC:
        return rights
    if resource.group == ADMISSION:
        return admission
    return secrets if resource.kind == "Secret" and not resource.group else ""


def shares(ordered: Iterable[tuple[Any, Count]], most: int) -> tuple[list[tuple[Any, Count]], Count | None]:
    """Return the first names with their counts, and the rest as one count; None where there is no rest."""
    every = list(ordered)
    rest = every[most:]
    if not rest:
        return every, None
    return every[:most], Count(sum(count.total for _, count in rest), sum(count.people for _, count in rest))


def _short(text: str) -> str:
    # Most names are short and harmless, and this is done several times for each of a million entries.
    return text if len(text) <= _NAME_LIMIT and text.isprintable() else plain.one_line(text, _NAME_LIMIT)


def _line(entry: _Glance, about: str = "") -> Line:
    resource = entry.resource
    kind = f"{resource.kind}/{resource.subresource}" if resource.subresource else resource.kind
    return Line(
        id=plain.one_line(entry.id, _NAME_LIMIT),
        at=entry.at,
        operation=entry.operation,
        kind=_short(kind),
        namespace=_short(resource.namespace),
        name=_short(resource.name),
        user=_short(entry.user.username),
        tool=_short(entry.field_manager),
        about=about,
    )


def _reason(document: bytes | msgspec.Raw) -> str:
    """Return why a Job failed, which is the one field change of its entry."""
    try:
        changes = _failures.decode(document).changes
    except msgspec.MsgspecError:
        return ""
    return plain.one_line(str(changes[0].new), _REASON_LIMIT) if changes and changes[0].new is not None else ""
