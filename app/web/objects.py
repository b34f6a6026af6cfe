"""`/api/v1/objects`: one object through time, as JSON, read-only: its story, its state, what changed, and who did."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, HTTPException, Query, Response
from fastapi import Path as PathParameter

from app.core.blame import blame
from app.core.change import Entry
from app.core.comparison import compare
from app.core.history import Life, is_by, state, story
from app.core.kinds import canonical
from app.core.moments import TAKES, parse_moment
from app.store.objects import MOST
from app.web.api import Moment
from app.web.ledgers import OpenedLedger
from app.web.parameters import only_known

NO_NAMESPACE: Final = "-"
"""Stands for the namespace of what has none."""

_BEGINNING: Final = datetime.min.replace(tzinfo=UTC)
_LONGEST: Final = 253
"""Characters of a name: a DNS subdomain (RFC 1123)."""

Kind = Annotated[str, PathParameter(max_length=_LONGEST, description="Kind, such as Deployment or deployments.")]
Namespace = Annotated[str, PathParameter(max_length=_LONGEST, description="Namespace; `-` for what has none.")]
Name = Annotated[str, PathParameter(max_length=_LONGEST)]
Group = Annotated[
    str | None, Query(max_length=_LONGEST, description="API group, where kinds of several have this name.")
]
Uid = Annotated[str, Query(max_length=64, description="Only the object with this uid, of all that had the name.")]

_TEXT: Final = {"type": "string"}
_ENTRY: Final = {"$ref": "#/components/schemas/Entry"}
_PRESENCE: Final = {"enum": ["there", "absent", "unknown"]}
_CHAPTER: Final = {
    "event": {"enum": ["created", "recreated", "changed", "deleted", "tried", "connected", "failed", "requested"]},
    "is_repeat": {"type": "boolean", "description": "The API server attempted it again; only the last time counts."},
    "entry": _ENTRY,
}
_BLAME: Final = {
    "path": _TEXT,
    "value": {},
    "entry_id": {"anyOf": [_TEXT, {"type": "null"}]},
    "at": _TEXT,
    "user": _TEXT,
    "actor": _TEXT,
    "field_manager": _TEXT,
    "operation": _TEXT,
    "origin": {
        "enum": ["entry", "before", "unseen"],
        "description": "Where no entry tells: set before the ledger began, or not as the entries left it.",
    },
}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


def _answers(description: str, **properties: Any) -> dict[int | str, dict[str, Any]]:
    fault = {"application/json": {"schema": _object(detail=_TEXT)}}
    return {
        200: {"description": description, "content": {"application/json": {"schema": _object(**properties)}}},
        400: {"description": "A parameter is unknown, or cannot be read; `detail` names it.", "content": fault},
        404: {"description": "There is no entry of such an object.", "content": fault},
        501: {"description": "The object is nested too deeply.", "content": fault},
        503: {"description": "The ledger cannot be read at the moment.", "content": fault},
    }


_OR_NULL: Final = {"anyOf": [_ENTRY, {"type": "null"}], "description": "Null where that was not recorded."}
_LIFE: Final = _object(uid=_TEXT, created=_OR_NULL, deleted=_OR_NULL, chapters=_list(_object(**_CHAPTER)))
_STORY: Final = _answers("The lives of the objects that had this name, oldest first.", lives=_list(_LIFE))
_BLAMED: Final = _answers("Each field of the object, in its order.", items=_list(_object(**_BLAME)))
_COMPARED: Final = _answers(
    "The net changes; exact where the object is known before and after, else what the entries between tell.",
    before=_PRESENCE,
    after=_PRESENCE,
    changes=_list({"$ref": "#/components/schemas/FieldChange"}),
)
_STATE: Final = _answers(
    "The object; null where it was not there, or is not known as a whole.",
    presence=_PRESENCE,
    object={"anyOf": [{"type": "object"}, {"type": "null"}]},
)


def _moment(text: str | None, name: str, otherwise: datetime) -> datetime:
    if not text:
        return otherwise
    try:
        return parse_moment(text, datetime.now(UTC))
    except ValueError as error:
        raise HTTPException(400, f"{name} takes {TAKES}") from error


def _shown(lives: Iterable[Life], since: datetime, until: datetime, limit: int) -> Iterator[dict[str, Any]]:
    """Yield the lives with those of the newest chapters that are between the moments."""
    told = [
        [each for each in life.chapters if is_by(each.entry, until) and not is_by(each.entry, since)] for life in lives
    ]
    left_out = sum(map(len, told)) - limit
    for life, chapters in zip(lives, told, strict=True):
        kept = chapters[max(left_out, 0) :]
        left_out -= len(chapters)
        if kept:
            yield {"uid": life.uid, "created": life.created, "deleted": life.deleted, "chapters": kept}


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def router() -> APIRouter:
    """Return the routes; each request reads the ledger on its own connection, in a worker thread."""

    def entries(
        ledger: OpenedLedger, kind: Kind, namespace: Namespace, name: Name, group: Group = None, uid: Uid = ""
    ) -> list[Entry]:
        where = "" if namespace == NO_NAMESPACE else namespace
        found = ledger.of_object(canonical(kind), where, name, group=group, uid=uid)
        if not found:
            raise HTTPException(404, "there is no entry of such an object; it may have been forgotten by retention")
        return found

    of_the_object = Annotated[list[Entry], Depends(entries)]
    routes = APIRouter(
        prefix="/api/v1/objects/{kind}/{namespace}/{name}", tags=["objects"], dependencies=[Depends(only_known)]
    )

    @routes.get("/history", responses=_STORY, response_class=Response)
    def history(
        entries: of_the_object,
        since: Moment = None,
        until: Moment = None,
        limit: Annotated[int, Query(ge=1, le=MOST, description="Entries at most, the newest.")] = 500,
    ) -> Response:
        """Tell the story of an object: who created it, changed it, deleted it, and made it again."""
        lives = story(entries)
        low, high = _moment(since, "since", _BEGINNING), _moment(until, "until", datetime.now(UTC))
        return _json({"lives": list(_shown(lives, low, high, limit))})

    @routes.get("/blame", responses=_BLAMED, response_class=Response)
    def blamed(entries: of_the_object) -> Response:
        """Tell for each field of the object, as the ledger knows it, who set it last, and from what."""
        return _json({"items": blame(entries, None)})

    @routes.get("/diff", responses=_COMPARED, response_class=Response)
    def compared(entries: of_the_object, since: Moment = None, until: Moment = None) -> Response:
        """Tell the net field changes between two moments; by default, since the ledger began, and until now."""
        low, high = _moment(since, "since", _BEGINNING), _moment(until, "until", datetime.now(UTC))
        return _json(
            {
                "before": state(entries, low).presence,
                "after": state(entries, high).presence,
                "changes": compare(entries, low, high),
            }
        )

    @routes.get("/state", responses=_STATE, response_class=Response)
    def at_moment(
        entries: of_the_object,
        at: Annotated[str | None, Query(max_length=40, description="The moment, written as `since`; else now.")] = None,
    ) -> Response:
        """Tell what the object was at a moment, redacted, without its status."""
        found = state(entries, _moment(at, "at", datetime.now(UTC)))
        return _json({"presence": found.presence, "object": found.document})

    return routes
