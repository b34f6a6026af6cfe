"""The page of those who change things: people first, then controllers, the busiest first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import urlencode

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from app.store.reading import Reader
from app.web.ui import data, words
from app.web.ui.render import page

RANGES: Final = (("1h", "1 hour"), ("24h", "24 hours"), ("7d", "7 days"), ("30d", "30 days"))
_HOURS: Final = {"1h": 1, "24h": 24, "7d": 7 * 24, "30d": 30 * 24}
_USUAL: Final = "7d"


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """An actor with a share of the busiest one's changes, from 0 to 100."""

    name: str
    address: str
    total: int
    share: int
    last: str


def page_of(request: Request, ledger: Reader) -> Response:
    """Return the page; a range that there is not is the usual one."""
    asked = request.query_params.get("since", "")
    chosen = asked if asked in _HOURS else _USUAL
    now = datetime.now(UTC)
    found = data.actors(ledger, now - timedelta(hours=_HOURS[chosen]), now)
    return page(
        request,
        "actors.html",
        section="actors",
        ranges=[(label, f"actors?since={text}", text == chosen) for text, label in RANGES],
        people=_lines([each for each in found if each.kind == "human"], chosen),
        controllers=_lines([each for each in found if each.kind == "controller"], chosen),
    )


def _lines(found: list[data.ActorFacts], since: str) -> list[Line]:
    busiest = max((each.total for each in found), default=1)
    return [
        Line(
            name=words.short_user(each.username),
            address="?" + urlencode({"user": each.username, "since": since}),
            total=each.total,
            share=max(1, round(each.total * 100 / busiest)),
            last=each.last,
        )
        for each in found
    ]
