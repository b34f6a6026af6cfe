"""`/api/v1`: the replicas of the installation, how each fares with its deliveries, and these queued again."""

from typing import Annotated, Any, Final

import msgspec
import structlog
from fastapi import APIRouter, Depends, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

from app.core.moments import moment_at
from app.core.text import one_line
from app.remote import wire
from app.remote.transport import RemoteError
from app.store.deliveries import requeue
from app.web.api import FAULTS, Moment, as_json, list_of, read_moment
from app.web.ledgers import Ledgers, OpenedLedger, Replica, UnknownReplicaError, ledgers_of, viewer_of
from app.web.parameters import only_known

logger = structlog.get_logger(__name__)

MOST_AT_ONCE: Final = 1000
"""Deliveries that can be named in one request."""

_LARGEST_BODY: Final = 64 * 1024
_LONGEST_NAME: Final = 253
_FAULT: Final = FAULTS[400]["content"]
_TEXT: Final = {"type": "string"}
_NUMBERS: Final = {"type": "object", "additionalProperties": {"type": "integer"}}
_TAKES: Final = (
    'the body takes JSON (Content-Type: application/json): {"ids": [...]} of one replica, or {"sink": "..."}'
)
_MAY_NOT: Final = (
    "you may not queue deliveries again: the console only shows, unless it runs with --console-requeue, or you have"
    " the right to update deliveries.kubewitness.io"
)


class Chosen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which dead deliveries are meant: these, or all of a sink; never by an omission all there are."""

    ids: Annotated[
        list[Annotated[int, msgspec.Meta(ge=1, le=(1 << 63) - 1)]], msgspec.Meta(max_length=MOST_AT_ONCE)
    ] = []
    sink: Annotated[str, msgspec.Meta(max_length=_LONGEST_NAME)] = ""


class _Requeued(msgspec.Struct):
    requeued: int


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _answers(description: str, **properties: Any) -> dict[int | str, dict[str, Any]]:
    content = {"application/json": {"schema": _object(**properties)}}
    return {200: {"description": description, "content": content}, **FAULTS}


_COUNTS: Final = _answers("The deliveries.", states=_NUMBERS, sinks={"type": "array", "items": _TEXT})
_HITS: Final = _answers(
    "How often each playbook found something.",
    playbooks=_NUMBERS,
    is_all={"type": "boolean", "description": "False where only the newest findings were counted."},
)
_REPLICAS: Final = list_of("items", _object(name=_TEXT), "The replicas, first the one that answers.")


def queued_again(ledgers: Ledgers, replica: str, chosen: Chosen) -> int:
    """Make dead deliveries of a replica pending again, of this process without one; return how many.

    Raises UnknownReplicaError and, where the replica does not do it, RemoteError.
    """
    peer = ledgers.peer(replica)
    if peer is None:
        return requeue(ledgers.journal, ids=chosen.ids, sink=chosen.sink)
    answer = peer.transport(None).post("api/v1/deliveries/requeue", {}, chosen)
    return wire.read(answer, _Requeued).requeued


def router() -> APIRouter:
    """Return the routes."""
    routes = APIRouter(prefix="/api/v1", tags=["deliveries"], dependencies=[Depends(only_known)])

    @routes.get("/replicas", responses=_REPLICAS, response_class=Response)
    def replicas(request: Request) -> Response:
        """List the replicas whose ledgers this console shows as one; none where it is the only one."""
        return as_json({"items": [{"name": name} for name in ledgers_of(request).replicas]})

    @routes.get("/deliveries/counts", responses=_COUNTS, response_class=Response)
    def counts(ledger: OpenedLedger) -> Response:
        """Count the deliveries of each state, and list the sinks that have any."""
        return as_json(ledger.delivery_counts())

    @routes.get("/hits", responses=_HITS, response_class=Response)
    def hits(ledger: OpenedLedger, since: Moment = None) -> Response:
        """Count what each playbook found, in the last day by default."""
        begin = read_moment(since or "1d", "since")
        return as_json(ledger.hits(moment_at(begin or 0)))

    return routes


def writing() -> APIRouter:
    """Return the one route that changes something."""
    routes = APIRouter(prefix="/api/v1", tags=["deliveries"])
    answers = _answers("How many there were.", requeued={"type": "integer"})
    answers[403] = {"description": "Who asks may not do this.", "content": _FAULT}
    body = {"content": {"application/json": {"schema": msgspec.json.schema(Chosen)["$defs"]["Chosen"]}}}

    @routes.post(
        "/deliveries/requeue",
        responses=answers,
        response_class=Response,
        openapi_extra={"requestBody": {**body, "required": True}},
    )
    async def queue_again(request: Request, replica: Replica = "") -> Response:
        """Make dead deliveries of one replica pending again, from the first attempt."""
        viewer = viewer_of(request)
        if not (viewer.may_requeue and viewer.sees_all):
            raise HTTPException(403, _MAY_NOT)
        chosen = await _chosen(request)
        try:
            count = await run_in_threadpool(queued_again, ledgers_of(request), replica, chosen)
        except UnknownReplicaError as error:
            raise HTTPException(400, str(error)) from None
        except RemoteError as error:
            raise HTTPException(503, f"{replica} {error}") from None
        who = one_line(viewer.name)
        logger.info(
            "deliveries requeued", action="retry", deliveries=count, sink=chosen.sink, replica=replica, user=who
        )
        return as_json({"requeued": count})

    return routes


async def _chosen(request: Request) -> Chosen:
    """Read which are meant; raises HTTPException 400.

    A page of another site can have a browser send a form or a text, but no JSON without being asked first.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(400, _TAKES)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST_BODY:
            raise HTTPException(400, f"the body has more than {_LARGEST_BODY} bytes")
    try:
        chosen = msgspec.json.decode(body, type=Chosen)
    except msgspec.MsgspecError:
        raise HTTPException(400, _TAKES) from None
    if bool(chosen.ids) == bool(chosen.sink):
        raise HTTPException(400, _TAKES)
    return chosen
