"""What only some of those may see whom the console lets in."""

from __future__ import annotations

from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.web.ledgers import viewer_of

_ONLY_SOME: Final = (
    "You see the changes of some namespaces, and this is of none: it takes the right to get entries.kubewitness.io in"
    " the whole cluster."
)


def only_who_sees_all(request: Request) -> None:
    """Raise HTTPException 403 for whoever sees only some namespaces."""
    if not viewer_of(request).sees_all:
        raise HTTPException(403, _ONLY_SOME)
