"""What a request may ask, and the one sentence that it gets when it asks for something else.

Both come from the OpenAPI document, so that what is refused is what the document does not offer.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from app.core.nearest import nearest

_LONGEST_NAME: Final = 40
"""Characters that are repeated of a name that nobody knows."""


def only_known(request: Request) -> None:
    """Refuse parameters that are unknown or given twice: a filter with a typo must not show what it left out."""
    known = [name for name, place in _offered(request) if place == "query"]
    for name, times in Counter(name for name, _ in request.query_params.multi_items()).items():
        if name not in known:
            raise HTTPException(400, _unknown(name, known))
        if times > 1:
            raise HTTPException(400, f"{name} can be given once")


async def refusal(request: Request, error: Exception) -> JSONResponse:
    """Answer 400 with the parameter and what it takes; never with what was given."""
    if not isinstance(error, RequestValidationError):
        raise error
    place, name = error.errors()[0]["loc"][:2]
    return JSONResponse({"detail": f"{name} takes {_taken(_offered(request)[name, place])}"}, status_code=400)


def _offered(request: Request) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the schema of each parameter of the route, by name and place."""
    operation = request.app.openapi()["paths"][request.scope["route"].path][request.method.lower()]
    return {(each["name"], each["in"]): each["schema"] for each in operation.get("parameters", ())}


def _unknown(name: str, known: list[str]) -> str:
    near, are = nearest(name, known), "are" if len(known) != 1 else "is"
    hint = f"did you mean {near}?" if near else f"there {are} {', '.join(sorted(known)) or 'none'}"
    return f"there is no parameter {name[:_LONGEST_NAME]!r}: {hint}"


def _taken(schema: dict[str, Any]) -> str:
    kind = schema.get("anyOf", [schema])[0]
    if "enum" in kind:
        *others, last = kind["enum"]
        return f"{', '.join(others)} or {last}"
    if kind["type"] == "integer":
        return f"a whole number from {kind['minimum']} to {kind['maximum']}"
    return f"at most {kind['maxLength']} characters"
