"""The one writing action's form: read by hand, and only from a page of this process."""

from __future__ import annotations

import hmac
from typing import Final
from urllib.parse import parse_qs

from fastapi import HTTPException
from starlette.requests import Request

_LARGEST: Final = 16 * 1024
_FORM: Final = "application/x-www-form-urlencoded"
_STALE: Final = "This page is older than the server, or not its own. Go back, load it again, and try once more."


async def read(request: Request, token: str) -> dict[str, str]:
    """Return the fields of a form; raises HTTPException 403 where another site sent it, or nobody knows who.

    The token is one of the process, not of a person: whoever can read it on a page may do what it allows. Browsers say
    beside it which site asks (https://www.w3.org/TR/fetch-metadata/), also through proxies.
    """
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        raise HTTPException(403, "Another site asked for this.")
    fields = _fields(request, await _body(request))
    if not hmac.compare_digest(fields.get("token", "").encode(), token.encode()):
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
