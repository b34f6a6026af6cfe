"""Routes of pages: whatever goes wrong behind one is told by a page, too."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Coroutine
from typing import Any, Final

import structlog
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import override

from app.store.database import StoreError
from app.web.ui.render import page

logger = structlog.get_logger(__name__)

_FORBIDDEN: Final = 403
_TOO_DEEP: Final = 501
_TITLES: Final = {
    400: "This cannot be asked",
    _FORBIDDEN: "This was not done",
    404: "There is nothing here",
    _TOO_DEEP: "This cannot be shown",
}
_DEEP: Final = (
    "The object has hundreds of maps or lists within each other, more than a page can be made of. What was recorded is"
    " in the export as JSON lines (export.jsonl), and in the API (/api/v1/entries)."
)


class PageRoute(APIRoute):
    """A route whose errors are pages. The ledger's are not shown as they are: they name files of the server."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await answer(request)
            except StarletteHTTPException as error:
                return problem(request, error.status_code, str(error.detail))
            except (StoreError, sqlite3.Error) as error:
                logger.error("ledger cannot be read", action="read", error=str(error))  # noqa: TRY400  no bug to trace
                return problem(request, 503, "The ledger cannot be read at the moment. Entries are recorded meanwhile.")
            except RecursionError:
                return problem(request, _TOO_DEEP, _DEEP)

        return handle


async def not_found(request: Request, error: Exception) -> Response:
    """Answer for a path that there is not: with a page to whoever reads pages, else with JSON."""
    detail = str(error.detail) if isinstance(error, StarletteHTTPException) else "Not Found"
    if request.scope["path"].startswith("/api/") or "text/html" not in request.headers.get("accept", ""):
        return JSONResponse({"detail": detail}, status_code=404)
    return problem(request, 404, "There is no such page.")


def problem(request: Request, status: int, sentence: str) -> Response:
    """Return the page that says what is wrong."""
    title = _TITLES.get(status, "This does not work at the moment")
    if status == _FORBIDDEN and request.method in ("GET", "HEAD"):
        title = "You may not see this"
    return page(request, "problem.html", status=status, title=title, sentence=sentence, section="")
