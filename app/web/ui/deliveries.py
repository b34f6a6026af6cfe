"""The page of deliveries, and the button that queues dead ones again."""

from __future__ import annotations

import asyncio
import re
from contextlib import closing
from typing import Final, get_args
from urllib.parse import urlencode

import msgspec
import structlog
from fastapi import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core import text as plain
from app.core.cursors import encoded
from app.core.delivery import Delivery, DeliveryState
from app.remote.transport import RemoteError
from app.store.reading import DeliveryCounts, Reader
from app.web.api import decode_cursor
from app.web.ledgers import UnknownReplicaError, ledgers_of, opened_at, viewer_of
from app.web.replicas import Chosen, queued_again
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


class Choice(msgspec.Struct, frozen=True):
    """What is looked at: deliveries of one replica, where there are several, in a state, to a sink."""

    replica: str
    state: DeliveryState | None
    sink: str

    def address(self, **changes: str) -> str:
        """Return the address of the same but for the changes."""
        wanted = {"replica": self.replica, "state": self.state or "", "sink": self.sink, **changes}
        return "deliveries?" + urlencode({name: text for name, text in wanted.items() if text})


def page_of(request: Request, ledger: Reader) -> Response:
    """Return the page; raises HTTPException 400 for a replica, state or cursor that there is not."""
    parameters, names = request.query_params, ledgers_of(request).replicas
    choice = Choice(
        replica=parameters.get("replica", "") or next(iter(names), ""),
        state=_state(parameters.get("state", "")),
        sink=parameters.get("sink", "")[:_LONGEST_NAME],
    )
    found, more = _found(request, choice)
    everywhere = data.counts_by_replica(ledger)
    counts = everywhere.get(choice.replica, DeliveryCounts({}, ()))
    return page(
        request,
        "deliveries.html",
        section="deliveries",
        deliveries=found,
        replica=choice.replica,
        replicas=[(name, _dead(everywhere.get(name)), choice.address(replica=name, sink="")) for name in names],
        state=choice.state or "",
        sink=choice.sink,
        states=[("", "all", sum(counts.states.values()), choice.address(state=""))]
        + [(each, each, counts.states.get(each, 0), choice.address(state=each)) for each in STATES],
        sinks=[(each, choice.address(sink=each)) for each in ("", *counts.sinks)],
        older="" if more is None else choice.address(cursor=encoded(more)),
        queued=parameters.get("queued", ""),
        token=requeue_token(request),
    )


def _found(request: Request, choice: Choice) -> tuple[list[Delivery], int | None]:
    before = decode_cursor(request.query_params.get("cursor") or None)
    try:
        with closing(opened_at(request, choice.replica)) as ledger:
            return data.deliveries(ledger, choice.state, choice.sink, before)
    except RemoteError as error:
        raise HTTPException(503, f"The deliveries of {choice.replica} cannot be read at the moment: {error}.") from None


def _dead(counts: DeliveryCounts | None) -> int:
    return counts.states.get("dead", 0) if counts is not None else 0


def _state(text: str) -> DeliveryState | None:
    found = next((each for each in STATES if each == text), None)
    if text and found is None:
        raise HTTPException(400, f"state takes {', '.join(STATES[:-1])} or {STATES[-1]}.")
    return found


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
    chosen, replica = _chosen(fields), fields.get("replica", "")
    try:
        count = await asyncio.to_thread(queued_again, ledgers_of(request), replica, chosen)
    except UnknownReplicaError as error:
        raise HTTPException(400, f"{error}.") from None
    except RemoteError as error:
        raise HTTPException(503, f"Nothing was queued: {replica} {error}.") from None
    who = plain.one_line(viewer_of(request).name)
    logger.info("deliveries requeued", action="retry", deliveries=count, sink=chosen.sink, replica=replica, user=who)
    return RedirectResponse(_back(fields, count), status_code=303, headers=HEADERS)


def _chosen(fields: dict[str, str]) -> Chosen:
    """Return the delivery or the sink that is meant: never by an omission all there are."""
    delivery, sink = fields.get("delivery", ""), fields.get("sink", "")
    if delivery.isdecimal() and delivery.isascii() and len(delivery) < 19:  # noqa: PLR2004  digits of 64 bits
        return Chosen(ids=[int(delivery)])
    if sink and not delivery:
        return Chosen(sink=sink)
    raise HTTPException(400, "The form names neither a delivery nor a sink.")


def _back(fields: dict[str, str], count: int) -> str:
    """Return where the button was, relative to what it asked for: one of two pages, whatever the form says."""
    entry = fields.get("entry", "")
    if _ENTRY.fullmatch(entry):
        return f"../entries/{entry}?queued={count}#deliveries"
    replica = {"replica": fields["replica"]} if fields.get("replica") else {}
    return f"../deliveries?{urlencode({'queued': count, **replica})}"
