"""`/report`: the audit report as a page, made while somebody waits for it, a few at the same time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from typing import Final

import msgspec
from fastapi import APIRouter, HTTPException
from starlette.requests import Request
from starlette.responses import Response

from app.core.nearest import nearest
from app.core.report import Tally
from app.core.report_wish import Office, ReportWish, report_wish
from app.core.viewer import Viewer
from app.remote.transport import RemoteError
from app.store.dead_letters import Dead, dead_letters
from app.store.reading import Reader
from app.web.ledgers import is_local, ledgers_of, missing_of, viewer_of
from app.web.places import Places
from app.web.ui.installation import Installation
from app.web.ui.render import page, root
from app.web.ui.report import Beginning, Report, add_page, beginning_of, context, scope_of, tally_of
from app.web.ui.routing import PageRoute

MOST: Final = 2
"""Reports at the same time, of which who sees only some namespaces has one: each keeps a processor busy."""

_NAMES: Final = ("since", "until", "zone", "hours", "days")
_LONGEST: Final = 60
_LEFT: Final = 499
"""The status of who did not wait for the answer, as nginx has it; nobody sees it."""


def router(installation: Callable[[], Installation]) -> APIRouter:
    """Return the route."""
    routes, reports = APIRouter(include_in_schema=False, route_class=PageRoute), Reports(installation)
    routes.get("/report")(reports.page)
    return routes


class Reports:
    """Makes reports, a few at the same time."""

    def __init__(self, installation: Callable[[], Installation]) -> None:
        self._places = Places(MOST, MOST // 2)
        self._installation = installation

    async def page(self, request: Request) -> Response:
        """Return the page; raises HTTPException 400 that says what cannot be asked, 503 where too many are made."""
        installation = self._installation()
        given = {**msgspec.structs.asdict(installation.office), **_given(request)}
        wish = _wish(given)
        viewer = viewer_of(request)
        if full := self._places.full(viewer):
            raise HTTPException(503, f"{full} reports are made already. Try again when one is done.")
        with self._places.place(viewer):
            return await _made(request, wish, given, installation.cluster)


def _given(request: Request) -> Mapping[str, str]:
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in _NAMES:
            near = nearest(name, _NAMES)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(_NAMES)}"
            raise HTTPException(400, f"there is no parameter {name[:40]!r}: {hint}")
        if times > 1:
            raise HTTPException(400, f"{name} can be given once")
    return {name: text[:_LONGEST] for name, text in request.query_params.items() if text}


def _wish(given: Mapping[str, str]) -> ReportWish:
    office = Office(hours=given["hours"], days=given["days"], zone=given["zone"])
    try:
        return report_wish(given.get("since", ""), given.get("until", ""), office, datetime.now(UTC))
    except ValueError as error:
        raise HTTPException(400, str(error)) from error


async def _made(request: Request, wish: ReportWish, given: Mapping[str, str], cluster: str) -> Response:
    missing: dict[str, str] = {}
    beginning, request.state.dead = await asyncio.to_thread(_begun, request, missing)
    tally, before = tally_of(wish, beginning), None
    while True:
        before = await asyncio.to_thread(_add, request, wish, tally, before, missing)
        if before is None:
            break
        if await request.is_disconnected():
            return Response(status_code=_LEFT)
    tally.finish()
    viewer = viewer_of(request)
    report = Report(
        wish=wish,
        tally=tally,
        beginning=beginning,
        made_at=datetime.now(UTC),
        made_by=_name(viewer),
        scope=scope_of(viewer.namespaces),
        sees_all=viewer.sees_all,
        cluster=cluster,
        missing=missing,
    )
    return await asyncio.to_thread(_page, request, report, given)


def _open(request: Request, replica: str = "") -> Reader:
    return ledgers_of(request).open(viewer_of(request), replica=replica, is_local=is_local(request))


def _begun(request: Request, missing: dict[str, str]) -> tuple[Beginning, int]:
    dead = _dead(request, missing) if viewer_of(request).sees_all else None
    with closing(_open(request)) as ledger:
        beginning = beginning_of(ledger, dead)
        missing.update(missing_of(ledger))
    return beginning, sum(each.total for each in dead.sinks) if dead else 0


def _dead(request: Request, missing: dict[str, str]) -> Dead:
    """Return the dead letters of all replicas, which each keep their own."""
    found = dict[str, Reader]()
    with ExitStack() as stack:
        for name in ledgers_of(request).replicas or ("",):
            found[name] = stack.enter_context(closing(_open(request, name)))
        return dead_letters(_answering(found, missing))


def _answering(ledgers: Mapping[str, Reader], missing: dict[str, str]) -> Iterator[Reader]:
    for name, ledger in ledgers.items():
        try:
            ledger.newest()
        except RemoteError as error:
            missing[name] = str(error)
        else:
            yield ledger


def _add(request: Request, wish: ReportWish, tally: Tally, before: int | None, missing: dict[str, str]) -> int | None:
    # A connection for each page: one that stays open would keep the journal from being tidied for as long.
    with closing(_open(request)) as ledger:
        following = add_page(ledger, wish, tally, before)
        missing.update(missing_of(ledger))
    return following


def _page(request: Request, report: Report, given: Mapping[str, str]) -> Response:
    shown = context(report, root(request))
    del shown["root"]
    return page(request, "report.html", section="report", given=given, **shown)


def _name(viewer: Viewer) -> str:
    return viewer.name or "somebody who need not say who they are"
