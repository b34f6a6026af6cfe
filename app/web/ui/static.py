"""Style sheet, script and icon: read once, known to browsers by their content."""

from __future__ import annotations

import functools
import hashlib
from importlib import resources
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

TYPES: Final = {
    "style.css": "text/css; charset=utf-8",
    "report.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
"""All files that there are: an address names one of these or nothing."""

_FOREVER: Final = "private, max-age=31536000, immutable"


@functools.cache
def content(name: str) -> bytes:
    """Return a file's bytes; raises KeyError for what is none of them."""
    if name not in TYPES:
        raise KeyError(name)
    return (resources.files("app.web.ui") / "static" / name).read_bytes()


@functools.cache
def _digest(name: str) -> str:
    return hashlib.sha256(content(name)).hexdigest()[:16]


def address(name: str) -> str:
    """Return where a file is, relative to the first page; another content has another address."""
    return f"static/{name}?v={_digest(name)}"


def serve(request: Request, name: str) -> Response:
    """Answer with a file; what is asked for by its digest may be kept forever."""
    headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache", "ETag": f'"{_digest(name)}"'}
    if request.query_params.get("v") == _digest(name):
        headers["Cache-Control"] = _FOREVER
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(status_code=304, headers=headers)
    return Response(content(name), media_type=TYPES[name], headers=headers)
