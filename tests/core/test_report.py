"""A report counts what happened, lists what matters, and says what it does not know."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from app.core.change import Actor, FieldChange, FindingSummary, Resource, User
from app.core.report import MOST_LINES, MOST_NAMES, OTHERS, SENSITIVE, Counts, Tally, sensitive_as, shares
from app.core.report import Resource as Seen
from app.core.report_calendar import Calendar
from app.core.report_wish import Office, report_wish
from tests.builders import make_entry

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
SUNDAY = "2026-01-04T12:00:00Z"
NIGHT = "2026-01-05T03:00:00Z"
DAY = "2026-01-05T12:00:00Z"
BOT: dict[str, Any] = {"user": User(username="system:serviceaccount:ci:bot"), "actor": Actor(kind="controller")}
SECRET = Resource(version="v1", kind="Secret", namespace="shop", name="db")


def document(at: str = DAY, **fields: Any) -> bytes:
    return msgspec.json.encode(make_entry(at=at, **fields)[1])


def tally(*documents: bytes) -> Tally:
    """Count entries, which are given newest first."""
    calendar = Calendar(MONDAY - timedelta(days=7), MONDAY + timedelta(days=1), ZoneInfo("UTC"))
    made = Tally(Office().understood(), calendar)
    made.add(documents)
    made.finish()
    return made


def totals(counts: Counts) -> dict[Any, tuple[int, int]]:
    return {name: (count.total, count.people) for name, count in counts.items()}


def test_changes_are_counted_by_whatever_tells_them_apart() -> None:
    found = tally(document(), document(resource=SECRET, operation="DELETE", **BOT), document())

    assert (found.changes.total, found.changes.people) == (3, 2)
    assert totals(found.namespaces) == {"shop": (3, 2)}
    assert totals(found.kinds) == {"Deployment": (2, 2), "Secret": (1, 0)}
    assert totals(found.operations) == {"UPDATE": (2, 2), "DELETE": (1, 0)}
    assert totals(found.people) == {"alice": (2, 2)}
    assert totals(found.controllers) == {"system:serviceaccount:ci:bot": (1, 0)}


def test_what_changed_nothing_is_left_out_and_said() -> None:
    found = tally(document(dry_run=True), document(repeat_of="0197"), b'{"id":', b'{"id":"1","at":"soon"}', document())

    assert (found.changes.total, found.dry_runs, found.repeats, found.unreadable) == (1, 1, 1, 2)


def test_a_failed_job_is_no_change_and_says_why_it_failed() -> None:
    reason = FieldChange("status.conditions[Failed]", "add", new="BackoffLimitExceeded: too often")
    job = Resource(group="batch", kind="Job", namespace="shop", name="nightly")

    failed = document(operation="FAILED", resource=job, user=User(), actor=Actor(kind="controller"), changes=(reason,))
    found = tally(failed)

    assert found.changes.total == 0
    assert [(line.name, line.about) for line in found.failures.lines] == [
        ("nightly", "BackoffLimitExceeded: too often")
    ]


def test_only_people_have_hours() -> None:
    found = tally(document(DAY), document(NIGHT), document(NIGHT, **BOT), document(SUNDAY))

    assert [line.at.isoformat() for line in found.after_hours.lines] == [
        "2026-01-05T03:00:00+00:00",
        "2026-01-04T12:00:00+00:00",
    ]


def test_deletions_by_people_are_listed() -> None:
    found = tally(document(operation="DELETE"), document(operation="DELETE", **BOT))

    assert [line.user for line in found.deletions.lines] == ["alice"]


@pytest.mark.parametrize(
    ("operation", "resource", "sort"),
    [
        ("UPDATE", Seen("rbac.authorization.k8s.io", "RoleBinding"), SENSITIVE[0]),
        ("UPDATE", Seen("", "Secret"), SENSITIVE[1]),
        ("UPDATE", Seen("example.com", "Secret"), ""),
        ("DELETE", Seen("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), SENSITIVE[2]),
        ("CONNECT", Seen("", "Pod", "exec"), SENSITIVE[3]),
        ("UPDATE", Seen("apps", "Deployment"), ""),
    ],
)
def test_what_is_sensitive(operation: str, resource: Seen, sort: str) -> None:
    assert sensitive_as(operation, resource) == sort


def test_sensitive_changes_are_counted_by_everybody_and_listed_of_people() -> None:
    found = tally(document(resource=SECRET), document(resource=SECRET, **BOT))

    assert totals(found.sensitive_by) == {
        ("Secrets", "alice"): (1, 1),
        ("Secrets", "system:serviceaccount:ci:bot"): (1, 0),
    }
    assert [(line.user, line.about) for line in found.sensitive.lines] == [("alice", "Secrets")]


def test_findings_are_counted_by_playbook() -> None:
    finding = FindingSummary("images", "web changed", "HIGH")

    found = tally(document(findings=(finding, finding)), document(findings=(finding,)))

    assert {name: count.total for name, count in found.findings.items()} == {("HIGH", "images"): 3}


def test_entries_that_were_too_large_are_counted_and_said() -> None:
    found = tally(document(truncated=True))

    assert (found.changes.total, found.truncated) == (1, 1)


def test_lists_keep_the_newest_and_count_all() -> None:
    found = tally(*(document(operation="DELETE", id=str(number)) for number in range(MOST_LINES + 5)))

    assert (len(found.deletions.lines), found.deletions.total) == (MOST_LINES, MOST_LINES + 5)
    assert found.deletions.lines[0].id == "0"


def test_however_many_names_there_are_only_so_many_are_kept() -> None:
    found = tally(*(document(user=User(username=f"u{number}")) for number in range(MOST_NAMES + 7)))

    assert len(found.people) == MOST_NAMES + 1
    assert found.people[OTHERS].total == 7
    assert found.changes.total == MOST_NAMES + 7


def test_names_are_harmless() -> None:
    evil = "\x1b[31mweb\u202e\n" + "x" * 500

    found = tally(document(user=User(username=evil), resource=Resource(kind=evil, namespace=evil, name=evil)))

    for name in (*found.people, *found.kinds, *found.namespaces):
        assert name.isprintable()
        assert len(name) <= 120


def test_the_rest_of_a_table_is_one_row() -> None:
    counts = Counts()
    for name, number in (("a", 1), ("b", 3), ("c", 2)):
        counts.of(name).total = number

    first, rest = shares(counts.ordered(), 1)

    assert [name for name, _ in first] == ["b"]
    assert rest is not None
    assert rest.total == 3
    assert shares(counts.ordered(), 3)[1] is None


@pytest.mark.parametrize(
    ("days", "step", "number", "first"),
    [(1, "hour", 24, "2026-01-05 00:00"), (30, "day", 30, "2026-01-05"), (365, "month", 12, "2026-01")],
)
def test_a_calendar_has_steps_that_fit_the_period(days: int, step: str, number: int, first: str) -> None:
    calendar = Calendar(MONDAY, MONDAY + timedelta(days=days), ZoneInfo("UTC"))

    calendar.add(MONDAY, True)
    calendar.add(MONDAY + timedelta(days=days, hours=9), False)

    bars = calendar.bars()
    assert calendar.step == step
    assert len(bars) == number + (step == "month")
    assert (bars[0].label, bars[0].people) == (first, 1)
    assert bars[-1].controllers == 1
    assert all(bar.people_height + bar.controllers_height <= 100 for bar in bars)


def test_a_day_begins_where_people_are() -> None:
    calendar = Calendar(MONDAY - timedelta(days=5), MONDAY, ZoneInfo("Asia/Kolkata"))

    calendar.add(datetime(2026, 1, 2, 18, 29, tzinfo=UTC), True)
    calendar.add(datetime(2026, 1, 2, 18, 31, tzinfo=UTC), True)

    assert [(bar.label, bar.total) for bar in calendar.bars() if bar.total] == [("2026-01-02", 1), ("2026-01-03", 1)]


def test_a_period_is_read_in_the_zone_and_ends_now_at_the_latest() -> None:
    wish = report_wish("2026-01-01", "2026-12-31", Office(zone="Europe/Paris"), MONDAY)

    assert wish.since == datetime(2025, 12, 31, 23, tzinfo=UTC)
    assert wish.until == MONDAY


def test_the_usual_period_is_the_last_week() -> None:
    wish = report_wish("", "", Office(), MONDAY)

    assert (wish.since, wish.until) == (MONDAY - timedelta(days=7), MONDAY)


@pytest.mark.parametrize(
    ("since", "until", "said"),
    [("soon", "", "'soon' is not a time"), ("1h", "2h", "ends before it begins"), ("2027-01-01", "", "ends before")],
)
def test_a_period_that_cannot_be_is_said(since: str, until: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        report_wish(since, until, Office(), MONDAY)
