"""The first requests to an application, made by the process itself before it listens."""

from __future__ import annotations

from typing import Final

from starlette.types import ASGIApp, Message, Scope

_PATHS: Final = ("/api/v1/openapi.json", "/api/v1/nowhere")
"""The document by which parameters are checked, and what no route has, so that all routes are looked at."""


async def warm(app: ASGIApp) -> None:
    """Have an application make what it puts off until somebody asks.

    FastAPI makes its routes then, while the event loop answers nobody, no review either.
    """
    for path in _PATHS:
        await app(_scope(path), _receive, _send)


def _scope(path: str) -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
    }


async def _receive() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Message) -> None:
    """Take the answer, which nobody reads."""
