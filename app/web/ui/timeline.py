"""The first page: entries newest first, filters that are the address, and how many changes there were when."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from app.core.cursors import encoded
from app.core.moments import milliseconds
from app.remote import headers, wire
from app.store.reading import Position, Reader
from app.web.ui import bars, data, words
from app.web.ui.filters import FilterError, Filters, given, understood
from app.web.ui.render import HEADERS, environment, page, root

RANGES: Final = (
    ("15m", "15 min"),
    ("1h", "1 hour"),
    ("6h", "6 hours"),
    ("24h", "24 hours"),
    ("7d", "7 days"),
    ("", "All"),
)
MAKERS: Final = (("", "Everybody"), ("human", "People"), ("controller", "Controllers"))
OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE", "CONNECT", "FAILED")

_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?Z")
_CHART: Final = "chart"
"""Asks for the histogram as part of the page, where no script asks for it afterwards."""

_LABELS: Final = {
    "q": "text",
    "kind": "kind",
    "namespace": "namespace",
    "name": "name",
    "user": "user",
    "actor": "made by",
    "operation": "operation",
    "path": "field",
    "dry_run": "dry run",
    "since": "since",
    "until": "until",
    "group": "API group",
    "uid": "uid",
}


class Chip(msgspec.Struct, frozen=True):
    """A filter in force, and the address without it; `is_moment` where it is a time in full, such as a bar's."""

    label: str
    text: str
    without: str
    is_moment: bool = False


def page_of(request: Request, ledger: Reader) -> Response:
    """Return the timeline; for filters that cannot be understood, the form with the reason."""
    try:
        filters = understood(request.query_params, beside=(_CHART,))
    except FilterError as error:
        return _refused(request, ledger, str(error))
    now = datetime.now(UTC)
    position = data.position(ledger)  # first: what comes while it is searched is rather told twice than never
    found = data.find(ledger, filters.query, filters.before)
    is_chart_asked = bool(request.query_params.get(_CHART))
    return page(
        request,
        "timeline.html",
        **_form(filters, ledger),
        rows=[words.row(entry) for entry in found.entries],
        found=found,
        older=filters.address(cursor=encoded(found.next)) if found.next is not None else "",
        newest=filters.address() if filters.before is not None else None,
        bars=_chart(ledger, filters, now) if is_chart_asked else None,
        chart_asked=is_chart_asked,
        chart_address="" if filters.before is not None else f"chart?{filters.address()}",
        stream=_stream(filters, now),
        position=wire.written_position(position),
        is_empty=not found.entries and position.sequence == 0,
        problem="",
    )


def _refused(request: Request, ledger: Reader, reason: str) -> Response:
    return page(
        request,
        "timeline.html",
        status=400,
        **_form(given(request.query_params), ledger),
        rows=[],
        found=data.Found(entries=(), next=None),
        older="",
        newest=None,
        bars=None,
        chart_asked=False,
        chart_address="",
        stream="",
        position="",
        is_empty=False,
        problem=reason,
    )


def _form(filters: Filters, ledger: Reader) -> dict[str, Any]:
    return {
        "section": "timeline",
        "filters": filters,
        "known": data.known(ledger),
        "chips": [
            Chip(label, filters[name], filters.address(**{name: ""}), is_moment=bool(_MOMENT.match(filters[name])))
            for name, label in _LABELS.items()
            if filters[name]
        ],
        "makers": [(label, filters.address(actor=kind), filters["actor"] == kind) for kind, label in MAKERS],
        "ranges": [(label, filters.address(since=text, until=""), _is_range(filters, text)) for text, label in RANGES],
        "operations": [(word, words.past(word)) for word in OPERATIONS],
    }


def _is_range(filters: Filters, text: str) -> bool:
    return filters["since"] == text and not filters["until"]


def _stream(filters: Filters, now: datetime) -> str:
    """Return the query string of what follows this page; empty for a page that nothing can be added to."""
    if filters.before is not None or (filters.query.until or milliseconds(now) + 1) <= milliseconds(now):
        return ""
    return filters.address(view="id")


def chart_of(request: Request, ledger: Reader) -> Response:
    """Return the histogram for a page that is open: counting may take longer than finding the newest entries."""
    try:
        filters = understood(request.query_params)
    except FilterError:
        return HTMLResponse("", status_code=400, headers=HEADERS)
    chart = _chart(ledger, filters, datetime.now(UTC))
    context = {"bars": chart, "filters": filters, "root": root(request)}
    text = environment().get_template("chart.html").render(context) if chart else ""
    return HTMLResponse(text, headers=HEADERS)


def _chart(ledger: Reader, filters: Filters, now: datetime) -> bars.Chart | None:
    return bars.chart(data.histogram(ledger, filters.query, now), filters)


def rows_after(request: Request, ledger: Reader) -> Response:
    """Return the rows that came after the position `after`, newest first, for a page that is open.

    The header X-Kubewitness-Position says what to ask for next.
    """
    try:
        filters = understood(request.query_params, beside=("after",))
        after = request.query_params.get("after", "")
        position = wire.position_of(after) if after else Position(0)
    except ValueError:
        return HTMLResponse("", status_code=400, headers=HEADERS)
    came = data.came_after(ledger, filters.query, position)
    rows = [words.row(entry) for entry in came.entries]
    text = environment().get_template("rows.html").render(rows=rows, root=root(request))
    return HTMLResponse(text, headers={**HEADERS, headers.POSITION: wire.written_position(came.position)})
