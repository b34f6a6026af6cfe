"""The page of deliveries, and the button that queues dead ones again."""

from __future__ import annotations

import asyncio
import re
from typing import Final, get_args
from urllib.parse import urlencode

import structlog
from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core import text as plain
from app.core.cursors import encoded
from app.core.delivery import DeliveryState
from app.store.reading import Reader
from app.web.api import decode_cursor
from app.web.ledgers import viewer_of
from app.web.ui import data, forms
from app.web.ui.render import HEADERS, page

logger = structlog.get_logger(__name__)

STATES: Final[tuple[DeliveryState, ...]] = get_args(DeliveryState)
_LONGEST_NAME: Final = 253
_MAY_NOT: Final = (
    "Deliveries are queued again with kubewitness deliveries retry. Here that takes --console-requeue, or the right to"
    " update deliveries.kubewitness.io in the whole cluster."
)
_ENTRY: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def page_of(request: Request, ledger: Reader) -> Response:
    """Return the page; raises HTTPException 400 for a state or cursor that there is not."""
    parameters = request.query_params
    state, sink = _state(parameters.get("state", "")), parameters.get("sink", "")[:_LONGEST_NAME]
    found, more = data.deliveries(ledger, state, sink, decode_cursor(parameters.get("cursor") or None))
    counts = ledger.delivery_counts()
    return page(
        request,
        "deliveries.html",
        section="deliveries",
        deliveries=found,
        state=state or "",
        sink=sink,
        counts=counts,
        states=[("", "all", sum(counts.states.values()), _address("", sink))]
        + [(each, each, counts.states.get(each, 0), _address(each, sink)) for each in STATES],
        sinks=[("", _address(state or "", ""))] + [(each, _address(state or "", each)) for each in counts.sinks],
        older="" if more is None else _address(state or "", sink, encoded(more)),
        queued=parameters.get("queued", ""),
        token=requeue_token(request),
    )


def _state(text: str) -> DeliveryState | None:
    found = next((each for each in STATES if each == text), None)
    if text and found is None:
        raise HTTPException(400, f"state takes {', '.join(STATES[:-1])} or {STATES[-1]}.")
    return found


def _address(state: str, sink: str, cursor: str = "") -> str:
    wanted = {"state": state, "sink": sink, "cursor": cursor}
    return "deliveries?" + urlencode({name: text for name, text in wanted.items() if text})


def requeue_token(request: Request) -> str:
    """Return what the buttons that queue again carry; empty for who may not press them, and gets none."""
    viewer = viewer_of(request)
    return forms.token_of(request) if viewer.may_requeue and viewer.sees_all else ""


async def requeued(request: Request) -> Response:
    """Queue the chosen dead deliveries again, and go back to the page where the button was.

    Raises HTTPException 403 for who may not.
    """
    if not requeue_token(request):
        raise HTTPException(403, _MAY_NOT)
    fields = await forms.read(request, requeue_token(request))
    ids, sink = _chosen(fields)
    count = await asyncio.to_thread(data.queue_again, request.app.state.ledgers.journal, ids, sink)
    logger.info(
        "deliveries requeued", action="retry", deliveries=count, sink=sink, user=plain.one_line(viewer_of(request).name)
    )
    return RedirectResponse(_back(fields, count), status_code=303, headers=HEADERS)


def _chosen(fields: dict[str, str]) -> tuple[list[int], str]:
    """Return the delivery or the sink that is meant: never by an omission all there are."""
    delivery, sink = fields.get("delivery", ""), fields.get("sink", "")
    if delivery.isdecimal() and delivery.isascii() and len(delivery) < 19:  # noqa: PLR2004  digits of 64 bits
        return [int(delivery)], ""
    if sink and not delivery:
        return [], sink
    raise HTTPException(400, "The form names neither a delivery nor a sink.")


def _back(fields: dict[str, str], count: int) -> str:
    """Return where the button was, relative to what it asked for: one of two pages, whatever the form says."""
    entry = fields.get("entry", "")
    if _ENTRY.fullmatch(entry):
        return f"../entries/{entry}?queued={count}#deliveries"
    return f"../deliveries?queued={count}"
