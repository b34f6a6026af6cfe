"""`/api/v1`: what readers elsewhere ask beside lists of entries: what came, words, places, the ledger's span."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Response

from app.core.cursors import encoded
from app.core.kinds import canonical
from app.remote import wire
from app.store.reading import Position
from app.store.search.query import Query as LedgerQuery
from app.web.api import FAULTS, Limit, Text, as_json, entry_query, list_of
from app.web.ledgers import OpenedLedger
from app.web.parameters import only_known

_TEXT: Final = {"type": "string"}
_POSITION: Final = {"type": "string", "description": "Where to follow from: `after` of the next request."}
_CURSOR: Final = {"anyOf": [_TEXT, {"type": "null"}], "description": "As a cursor; null where the ledger is empty."}
_SEEN: Final = {"kind": _TEXT, "namespace": _TEXT, "name": _TEXT}

After = Annotated[
    str, Query(max_length=wire.LONGEST_POSITION, description="`position` of the answer before, or of `/api/v1/span`.")
]
Word = Literal["kind", "namespace", "name", "user"]
_FIELDS: Final = {name: field for field, name in wire.FIELDS.items()}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _answers(description: str, schema: dict[str, Any]) -> dict[int | str, dict[str, Any]]:
    return {200: {"description": description, "content": {"application/json": {"schema": schema}}}, **FAULTS}


_CAME: Final = _object(items={"type": "array", "items": {"$ref": "#/components/schemas/Entry"}}, position=_POSITION)


def read_position(text: str) -> Position:
    """Read a position; raises HTTPException 400 for what is none."""
    try:
        return wire.read_position(text)
    except ValueError as error:
        raise HTTPException(400, "after takes `position` of the answer before") from error


def router() -> APIRouter:
    """Return the routes; each request reads the ledger on its own connection, in a worker thread."""
    routes = APIRouter(prefix="/api/v1", tags=["ledger"], dependencies=[Depends(only_known)])

    @routes.get("/follow", responses=_answers("What came, oldest first.", _CAME), response_class=Response)
    def follow(
        ledger: OpenedLedger,
        after: After,
        query: Annotated[LedgerQuery, Depends(entry_query)],
        limit: Limit = 200,
    ) -> Response:
        """List what was recorded after a position, and match the filters. Nothing came where the position stays.

        It looks at the next `limit` entries or so, of which none may match.
        """
        position, items = ledger.follow(query, read_position(after), limit)
        return as_json({"items": items, "position": wire.written_position(position)})

    @routes.get(
        "/span",
        responses=_answers("The ends of the ledger.", _object(oldest=_CURSOR, newest=_CURSOR, position=_POSITION)),
        response_class=Response,
    )
    def span(ledger: OpenedLedger) -> Response:
        """Tell from where to where the ledger goes, and where to follow it from."""
        position, oldest = ledger.position(), ledger.oldest()
        newest = position.sequence
        ends = {"oldest": encoded(oldest) if oldest else None, "newest": encoded(newest) if newest else None}
        return as_json({**ends, "position": wire.written_position(position)})

    @routes.get("/words", responses=list_of("items", _TEXT, "Values in order, a thousand at most."))
    def words(ledger: OpenedLedger, field: Word, beginning: Annotated[str, Query(max_length=1024)] = "") -> Response:
        """List the values of a field that begin so."""
        return as_json({"items": ledger.words(_FIELDS[field], beginning)})

    @routes.get("/places", responses=list_of("items", _TEXT, "Namespaces; an empty one for objects of none."))
    def places(ledger: OpenedLedger, kind: Text, name: Text) -> Response:
        """List where objects of this kind and name have been seen."""
        return as_json({"items": ledger.places(canonical(kind), name)})

    @routes.get("/recent", responses=list_of("items", _object(**_SEEN), "Objects by kind and name."))
    def recent(ledger: OpenedLedger) -> Response:
        """List the objects that changed lately."""
        return as_json({"items": [dict(zip(_SEEN, each, strict=True)) for each in ledger.recent_objects()]})

    return routes
