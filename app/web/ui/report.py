"""The audit report of a period: a page that prints well, and the same as a file of its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from app.core import text as plain
from app.core.identity import first_sequence_at
from app.core.moments import milliseconds, moment_at
from app.core.report import SENSITIVE, Counts, Tally, shares
from app.core.report_calendar import Calendar
from app.core.report_wish import ReportWish
from app.store.dead_letters import Dead
from app.store.paging import page_of
from app.store.reading import Reader
from app.store.search.query import Query
from app.web.ui import static, words
from app.web.ui.render import environment

MOST_SHOWN: Final = 25
"""Rows of each table of counts; the rest is one row."""


_NAME_LIMIT: Final = 120


class Beginning(msgspec.Struct, frozen=True, kw_only=True):
    """What is known before entries are read: `oldest` is when the ledger begins, None where it is empty.

    `dead` is None where it is kept from the viewer.
    """

    oldest: datetime | None
    dead: Dead | None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """All that a report says. `scope` says whose changes are told; where `sees_all` is false, that is not everything.

    `missing` are replicas that did not always answer, and why.
    """

    wish: ReportWish
    tally: Tally
    beginning: Beginning
    made_at: datetime
    made_by: str
    scope: str
    sees_all: bool
    cluster: str = ""
    missing: Mapping[str, str] = {}

    @property
    def clusters(self) -> str:
        """The clusters that entries name, or the one of the installation."""
        return ", ".join(name for name, _ in self.tally.clusters.ordered()[:10] if name) or self.cluster


class Bars(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a table of counts, with the address of its entries, and its parts as hundredths of the highest row."""

    name: str
    label: str
    total: int
    people: int
    address: str
    people_width: int
    controllers_width: int


def query_of(wish: ReportWish) -> Query:
    """Return the query for the entries of a report."""
    return Query(since=milliseconds(wish.since), until=milliseconds(wish.until))


def tally_of(wish: ReportWish, beginning: Beginning) -> Tally:
    """Return a tally without entries yet, whose calendar begins where the ledger does."""
    since = min(max(wish.since, beginning.oldest or wish.since), wish.until)
    return Tally(wish.hours, Calendar(since, wish.until, wish.hours.zone))


def beginning_of(ledger: Reader, dead: Dead | None) -> Beginning:
    """Read what is known before entries are read."""
    oldest = ledger.oldest() // first_sequence_at(1)
    return Beginning(oldest=moment_at(oldest) if oldest else None, dead=dead)


def add_page(ledger: Reader, wish: ReportWish, tally: Tally, before: int | None) -> int | None:
    """Count the entries below a sequence number; return where the next page begins, None at the end."""
    page = page_of(ledger, query_of(wish), before)
    tally.add(page.items)
    return page.next


def scope_of(namespaces: frozenset[str] | None) -> str:
    """Return in words what somebody sees."""
    if namespaces is None:
        return "all namespaces, and objects of no namespace"
    names = [plain.one_line(each, _NAME_LIMIT) for each in sorted(namespaces) if each]
    named = f"namespaces: {', '.join(names)}" if names else "no namespace"
    return f"{named}; objects of no namespace" if "" in namespaces else named


def standalone(report: Report) -> str:
    """Return a report as a file that needs nothing else, and may do nothing: no script, nothing from elsewhere."""
    style = static.content("report.css").decode()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'"
    template = environment().get_template("report_file.html")
    return template.render(style=style, policy=policy, **context(report, root=None))


def context(report: Report, root: str | None) -> dict[str, Any]:
    """Return what the templates show; without a `root` there is no console that links could lead to."""
    tally, zone = report.tally, report.wish.hours.zone
    period = {"since": _exact(report.wish.since), "until": _exact(report.wish.until)}
    tables = {
        "namespaces": _bars(tally.namespaces, "namespace", period),
        "people": _bars(tally.people, "user", period),
        "controllers": _bars(tally.controllers, "user", period),
        "kinds": _bars(tally.kinds, "kind", period),
        "operations": _bars(tally.operations, "operation", period),
    }
    sensitive_rows, sensitive_rest = shares(tally.sensitive_by.ordered(), 2 * MOST_SHOWN)
    return {
        "report": report,
        "tally": tally,
        "tables": tables,
        "bars": tally.calendar.bars(),
        "sensitive": SENSITIVE,
        "sensitive_rows": sensitive_rows,
        "sensitive_rest": sensitive_rest,
        "root": root,
        "timeline": urlencode(period),
        "local": lambda at: at.astimezone(zone).strftime("%Y-%m-%d %H:%M"),
        "exact": _exact,
        "past": words.past,
        "who": words.short_user,
        "moment": datetime.fromisoformat,
    }


def _bars(counts: Counts, filter_: str, period: Mapping[str, str]) -> tuple[list[Bars], Any]:
    first, rest = shares(counts.ordered(), MOST_SHOWN)
    highest = max((count.total for _, count in first), default=1)
    return list(_rows(first, filter_, period, highest)), rest


def _rows(first: Iterable[tuple[str, Any]], filter_: str, period: Mapping[str, str], highest: int) -> Iterable[Bars]:
    for name, count in first:
        yield Bars(
            name=name,
            label=words.short_user(name) if filter_ == "user" else name,
            total=count.total,
            people=count.people,
            address=urlencode({filter_: name, **period}) if name else "",
            people_width=_width(count.people, highest),
            controllers_width=_width(count.total - count.people, highest),
        )


def _width(count: int, highest: int) -> int:
    return max(1, round(count / highest * 98)) if count else 0


def _exact(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
