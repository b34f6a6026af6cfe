"""Forms: read by hand, and only from a page that the same person was given."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request

from app.web.identities import is_same

_LARGEST: Final = 16 * 1024
_FORM: Final = "application/x-www-form-urlencoded"
_STALE: Final = "This page is older than the server, or not its own. Go back, load it again, and try once more."


def token_of(request: Request) -> str:
    """Return what the forms of this person's pages carry; empty where nobody has found out who that is."""
    return str(request.scope.get("state", {}).get("form_token", ""))


async def read(request: Request, token: str) -> dict[str, str]:
    """Return the fields of a form; raises HTTPException 403 where another site sent it, or nobody knows who.

    `token` is what its field of that name must hold. Browsers say beside it which site asks, also through proxies
    (https://www.w3.org/TR/fetch-metadata/).
    """
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "Another site asked for this.")
    fields = _fields(request, await _body(request))
    if not token or not is_same(fields.get("token", ""), token):
        raise HTTPException(403, _STALE)
    return fields


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _LARGEST:
            raise HTTPException(400, "The form is too large.")
    return body


def _fields(request: Request, body: bytes) -> dict[str, str]:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(400, "This takes a form.")
    try:
        return {name: texts[-1] for name, texts in parse_qs(body.decode("ascii"), max_num_fields=16).items()}
    except ValueError as error:
        raise HTTPException(400, "The form cannot be read.") from error
