"""`/api/v1/entries/{id}/undo`: how an entry is undone, as far as the ledger tells; nothing is done here."""

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Response

from app.core.change import Entry
from app.core.identity import first_sequence_at, sequence_of
from app.core.undo import Refusal, Undo, undo
from app.store.reading import Reader
from app.web.api import EntryId
from app.web.ledgers import OpenedLedger
from app.web.parameters import only_known

_TAKES: Final = "entry_id takes the id of an entry, a UUID as `id` of a list shows it"
_ABSENT: Final = "there is no such entry; it may have been forgotten by retention"


def _answers() -> dict[int | str, dict[str, Any]]:
    # What these refer to is in the document, as entries refer to it as well.
    _, schemas = msgspec.json.schema_components([Undo, Refusal], ref_template="#/components/schemas/{name}")
    parts = {"undo": schemas["Undo"], "refusal": schemas["Refusal"]}
    properties = {name: {"anyOf": [schema, {"type": "null"}]} for name, schema in parts.items()}
    body = {"type": "object", "required": list(properties), "properties": properties}
    fault = {"type": "object", "required": ["detail"], "properties": {"detail": {"type": "string"}}}
    descriptions = {
        200: "Either how the entry is undone, or why it is not; the other one is null.",
        400: "The id is none, or there is a parameter; `detail` says what is wrong.",
        404: "There is no such entry.",
        501: "The object is nested too deeply.",
        503: "The ledger cannot be read at the moment.",
    }
    return {
        status: {
            "description": text,
            "content": {"application/json": {"schema": body if status == 200 else fault}},  # noqa: PLR2004  as above
        }
        for status, text in descriptions.items()
    }


def router() -> APIRouter:
    """Return the route; each request reads the ledger on its own connection, in a worker thread."""
    routes = APIRouter(prefix="/api/v1", tags=["ledger"], dependencies=[Depends(only_known)])

    @routes.get("/entries/{entry_id}/undo", responses=_answers(), response_class=Response)
    def how_to_undo(ledger: OpenedLedger, entry_id: EntryId) -> Response:
        """Tell how an entry is undone, or why it is not. The patch's tests guard: the live object is not looked at."""
        found = undone(ledger, entry_id)
        is_refused = isinstance(found, Refusal)
        said = {"undo": None if is_refused else found, "refusal": found if is_refused else None}
        return Response(msgspec.json.encode(said), media_type="application/json")

    return routes


def undone(ledger: Reader, entry_id: str) -> Undo | Refusal:
    """Return how an entry is undone, or why it is not, without a look at the live object.

    Raises HTTPException: 400 for what is no id, 404 where there is no such entry.
    """
    try:
        since = sequence_of(entry_id) // first_sequence_at(1)
    except ValueError as error:
        raise HTTPException(400, _TAKES) from error
    found = ledger.record(entry_id)
    if found is None:
        raise HTTPException(404, _ABSENT)
    entry = msgspec.convert(found.entry, Entry)
    resource = entry.resource
    place = (resource.kind, resource.namespace, resource.name)
    return undo(entry, None, later=ledger.of_object(*place, group=resource.group, since=since))
