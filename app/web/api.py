"""`/api/v1`: the ledger and the deliveries as JSON, read-only."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Response
from fastapi import Path as PathParameter

from app.core.actors import actor_kind
from app.core.change import Entry, Operation
from app.core.cursors import decoded, encoded
from app.core.delivery import Delivery, DeliveryState
from app.core.finding import Finding
from app.core.identity import first_sequence_at
from app.core.kinds import canonical
from app.core.moments import TAKES, milliseconds, parse_moment, written
from app.core.paths import compile_pattern
from app.remote.ledger import MOST_ACTORS
from app.store.reading import Reader
from app.store.search.query import Query as LedgerQuery
from app.store.search.reader import ActorCount
from app.web.ledgers import OpenedLedger
from app.web.parameters import only_known

_DAY: Final = 86_400_000
_UUID: Final = "[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"

Text = Annotated[str, Query(max_length=253)]
Limit = Annotated[int, Query(ge=1, le=500, description="Entries on a page.")]
Buckets = Annotated[int, Query(ge=1, le=500, description="How many buckets at most.")]
Cursor = Annotated[str | None, Query(max_length=64, description="`next` of the page before.")]
EntryId = Annotated[
    str, PathParameter(description="Id of the entry, a UUIDv7.", json_schema_extra={"pattern": f"^{_UUID}$"})
]
Moment = Annotated[str | None, Query(max_length=40, description=f"A time: {TAKES}.", examples=["2h", "monday 9:00"])]


def schemas() -> dict[str, Any]:
    """Return the JSON Schemas of entries, findings and deliveries, for the OpenAPI document."""
    _, components = msgspec.json.schema_components(
        [Entry, Finding, Delivery], ref_template="#/components/schemas/{name}"
    )
    return components


def _page_of(name: str) -> dict[int | str, dict[str, Any]]:
    schema = {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}},
            "next": {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "Cursor of the next page."},
        },
    }
    return {
        200: {"description": "A page, newest first.", "content": {"application/json": {"schema": schema}}},
        **FAULTS,
    }


_FAULT: Final = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
FAULTS: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {"application/json": {"schema": _FAULT}}}
    for status, description in (
        (400, "A parameter is unknown, or cannot be read; `detail` names it and says what it takes."),
        (503, "The ledger cannot be read at the moment."),
    )
}
_COUNTS: Final = {
    "type": "object",
    "required": ["at", "total", "failed"],
    "properties": {
        "at": {"type": "string", "format": "date-time", "description": "When the bucket begins."},
        "total": {"type": "integer"},
        "failed": {"type": "integer", "description": "How many of them are failed Jobs."},
    },
}
_ACTOR: Final = {
    "type": "object",
    "required": ["user", "kind", "total", "last"],
    "properties": {
        "user": {"type": "string"},
        "kind": {"enum": ["human", "controller"]},
        "total": {"type": "integer", "description": "How many entries they made."},
        "last": {"type": "string", "format": "date-time", "description": "When they made the newest one."},
    },
}


def list_of(name: str, item: dict[str, Any], description: str) -> dict[int | str, dict[str, Any]]:
    """Describe an answer that has a list of such items under a name, and how the request may fail."""
    schema = {"type": "object", "required": [name], "properties": {name: {"type": "array", "items": item}}}
    return {200: {"description": description, "content": {"application/json": {"schema": schema}}}, **FAULTS}


_ENTRY_WITH_DELIVERIES: Final = {
    "allOf": [
        {"$ref": "#/components/schemas/Entry"},
        {
            "type": "object",
            "required": ["findings", "deliveries"],
            "properties": {
                "findings": {"type": "array", "items": {"$ref": "#/components/schemas/Finding"}},
                "deliveries": {"type": "array", "items": {"$ref": "#/components/schemas/Delivery"}},
                "replica": {"type": "string", "description": "Who recorded it, where there are several replicas."},
            },
        },
    ]
}
_ENTRY: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The entry, with its deliveries.",
        "content": {"application/json": {"schema": _ENTRY_WITH_DELIVERIES}},
    },
    404: {"description": "There is no such entry.", "content": {"application/json": {"schema": _FAULT}}},
    **FAULTS,
}


def decode_cursor(cursor: str | None) -> int | None:
    """Read a cursor; raises HTTPException 400 for what is none."""
    return None if cursor is None else _read(decoded, cursor, "cursor", "`next` of the page before")


def _read(read: Callable[[str], Any], text: str, name: str, takes: str) -> Any:
    try:
        return read(text)
    except ValueError as error:
        raise HTTPException(400, f"{name} takes {takes}") from error


def read_moment(text: str | None, name: str) -> int | None:
    """Read a time in unix milliseconds, None where there is none; raises HTTPException 400 for what is none."""
    if not text:
        return None
    return milliseconds(_read(lambda text: parse_moment(text, datetime.now(UTC)), text, name, TAKES))


def _operation(text: str) -> str:
    word = text.upper()
    if word and word not in get_args(Operation):
        raise HTTPException(400, "operation takes CREATE, UPDATE, DELETE, CONNECT or FAILED, in any case")
    return word


def entry_query(
    kind: Text = "",
    namespace: Text = "",
    name: Text = "",
    user: Annotated[str, Query(max_length=1024)] = "",
    operation: Annotated[
        str, Query(description="CREATE, UPDATE, DELETE, CONNECT or FAILED (of Jobs), in any case.", examples=["UPDATE"])
    ] = "",
    path: Annotated[str, Query(max_length=1024, description="Field pattern, such as images or spec.replicas.")] = "",
    dry_run: Annotated[
        Literal["true", "false"] | None, Query(description="Only dry runs, or only what was no dry run.")
    ] = None,
    since: Moment = None,
    until: Moment = None,
    q: Annotated[str, Query(max_length=253, description="Text anywhere in the entry.")] = "",
    actor: Annotated[
        Literal["human", "controller"] | None, Query(description="Who made the change: a person, or a program.")
    ] = None,
    group: Annotated[str, Query(max_length=253, description="API group, such as apps.", examples=["apps"])] = "",
    uid: Annotated[str, Query(max_length=128, description="uid of the object: this one, not one of its name.")] = "",
) -> LedgerQuery:
    """Read the filters of a request; raises HTTPException 400 that says what is wrong."""
    if path:
        _read(compile_pattern, path, "path", "a field pattern, such as images, spec.replicas or containers[web].image")
    return LedgerQuery(
        kind=canonical(kind),
        namespace=namespace,
        name=name,
        username=user,
        operation=_operation(operation),
        path=path,
        dry_run=None if dry_run is None else dry_run == "true",
        since=read_moment(since, "since"),
        until=read_moment(until, "until"),
        q=q,
        actor=actor or "",
        group=group,
        uid=uid,
    )


def as_json(value: Any) -> Response:
    """Return an answer."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def _actor(found: ActorCount) -> dict[str, Any]:
    return {
        "user": found.username,
        "kind": actor_kind(found.username),
        "total": found.total,
        "last": written(found.newest // first_sequence_at(1)),
    }


def _begun(ledger: Reader, query: LedgerQuery, beginning: str) -> list[msgspec.Raw]:
    if query != LedgerQuery():
        raise HTTPException(400, "id stands alone: leave out the other filters")
    return list(_read(ledger.find, beginning, "id", "four or more digits that an id begins with"))


def _period(ledger: Reader, query: LedgerQuery) -> tuple[int, int]:
    """Return the times between which a query looks, in milliseconds: from the oldest entry on, and up to now."""
    now = milliseconds(datetime.now(UTC)) + 1
    since = query.since
    if since is None:
        since = ledger.oldest() // first_sequence_at(1) or now
    return since, now if query.until is None else min(query.until, now)


def router() -> APIRouter:
    """Return the routes; each request reads the ledger on its own connection, in a worker thread."""
    routes = APIRouter(prefix="/api/v1", tags=["ledger"], dependencies=[Depends(only_known)])

    @routes.get("/entries", responses=_page_of("Entry"), response_class=Response)
    def entries(
        ledger: OpenedLedger,
        query: Annotated[LedgerQuery, Depends(entry_query)],
        limit: Limit = 50,
        cursor: Cursor = None,
        beginning: Annotated[
            str, Query(alias="id", max_length=36, description="Beginning of an id; alone, without other filters.")
        ] = "",
    ) -> Response:
        """List entries, newest first. A page may hold fewer than `limit` and still have a `next`.

        Of those whose `id` begins so there are two at most: enough to see that it is not the beginning of one alone.
        """
        if beginning:
            return as_json({"items": _begun(ledger, query, beginning), "next": None})
        page = ledger.search(query, limit=limit, before=decode_cursor(cursor))
        return as_json({"items": page.items, "next": None if page.next is None else encoded(page.next)})

    @routes.get(
        "/histogram",
        responses=list_of("buckets", _COUNTS, "The buckets, oldest first; none where counting would take too long."),
        response_class=Response,
    )
    def histogram(
        ledger: OpenedLedger,
        query: Annotated[LedgerQuery, Depends(entry_query)],
        buckets: Buckets = 60,
        begin: Annotated[Moment, Query(alias="from")] = None,
        end: Annotated[Moment, Query(alias="to")] = None,
    ) -> Response:
        """Count entries over time: all that the filters find, or since the oldest entry, in round spans of equal width.

        `from` and `to` are the time that is divided, where it is another than that of the filters. Of a text that
        thousands of entries seem to have, those are counted that have its rarest runs of three characters.
        """
        since, until = _period(ledger, query)
        low, high = read_moment(begin, "from"), read_moment(end, "to")
        found = ledger.histogram(query, since if low is None else low, until if high is None else high, buckets)
        return as_json({"buckets": [{**msgspec.structs.asdict(each), "at": written(each.at)} for each in found]})

    @routes.get(
        "/actors",
        responses=list_of("items", _ACTOR, "Who made entries, the busiest first."),
        response_class=Response,
    )
    def actors(
        ledger: OpenedLedger,
        since: Moment = None,
        until: Moment = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ACTORS, description="How many at most.")] = 1000,
    ) -> Response:
        """List who made entries in a period, which is the last day by default."""
        end, begin = read_moment(until, "until"), read_moment(since, "since")
        end = milliseconds(datetime.now(UTC)) + 1 if end is None else end
        found = ledger.actors(max(end - _DAY, 0) if begin is None else begin, end)
        return as_json({"items": [_actor(each) for each in found[:limit]]})

    @routes.get("/entries/{entry_id}", responses=_ENTRY, response_class=Response)
    def entry(ledger: OpenedLedger, entry_id: EntryId) -> Response:
        """Return one entry, with its findings as a whole, and their deliveries."""
        takes = "the id of an entry, a UUID as `id` of a list shows it"
        found = _read(ledger.record, entry_id, "entry_id", takes)
        if found is None:
            raise HTTPException(404, "there is no such entry; it may have been forgotten by retention")
        replica = {"replica": found.replica} if found.replica else {}
        return as_json(found.entry | {"findings": found.findings, "deliveries": found.deliveries} | replica)

    @routes.get("/deliveries", responses=_page_of("Delivery"), response_class=Response)
    def deliveries(
        ledger: OpenedLedger,
        state: DeliveryState | None = None,
        sink: Text = "",
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Response:
        """List deliveries, newest first."""
        before = decode_cursor(cursor)
        items = ledger.deliveries(state=state, sink=sink, before=before, limit=limit)
        return as_json({"items": items, "next": encoded(items[-1].id) if len(items) == limit else None})

    return routes
