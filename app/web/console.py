"""The application behind the console port."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from app import __version__
from app.remote.peers import Peers
from app.store.database import StoreError
from app.telemetry.metrics import Metrics
from app.web import api, export, objects, parameters, probes, reading, replicas, stream, undo
from app.web.health import Health
from app.web.ledgers import Ledgers
from app.web.telling import Telling
from app.web.ui import pages, report_page
from app.web.ui.installation import Installation
from app.web.ui.routing import not_found

logger = structlog.get_logger(__name__)

_TOO_DEEP: Final = (
    "the object has hundreds of maps or lists within each other, too many to work with; /api/v1/entries has the entries"
    " as they were recorded"
)


class Console(FastAPI):
    """The console; its OpenAPI document describes entries and deliveries with the schemas of the core."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        if not self.openapi_schema:
            document = get_openapi(title=self.title, version=self.version, summary=self.summary, routes=self.routes)
            # FastAPI says 422 of whatever has parameters; here a RequestValidationError is answered with 400.
            for operation in (each for path in document["paths"].values() for each in path.values()):
                operation["responses"].pop("422", None)
            document["components"] = {"schemas": api.schemas()}
            self.openapi_schema = document
        return self.openapi_schema


def console(
    journal: Path,
    health: Health,
    metrics: Metrics,
    installation: Callable[[], Installation] = Installation,
    peers: Peers | None = None,
) -> Console:
    """Return the application. Its documentation is `/api/v1/openapi.json`: no page that would load from elsewhere.

    `installation` tells, each time somebody looks, what the status page shows of the configuration in effect.
    `peers` are the other replicas, whose ledgers are shown with that of this process; they are the caller's to close.
    """
    app = Console(
        title="kubewitness",
        summary="Who changed what in this cluster.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        # It would lead to what the Host header says, past the path that a proxy has put the console at.
        redirect_slashes=False,
    )
    app.add_exception_handler(RequestValidationError, parameters.refusal)
    app.include_router(probes.router(health, metrics))
    app.state.ledgers = Ledgers(journal, peers)
    app.add_middleware(Telling, ledgers=app.state.ledgers)
    for each in (api, reading, replicas, export, undo, objects):
        app.include_router(each.router())
    app.include_router(replicas.writing())
    app.include_router(stream.router(app.state.ledgers, health))
    app.include_router(pages.router(health, metrics, installation))
    app.include_router(report_page.router(installation))
    app.add_exception_handler(404, not_found)

    @app.exception_handler(StoreError)
    @app.exception_handler(sqlite3.Error)
    async def store_error(_request: Request, error: Exception) -> JSONResponse:
        logger.error("ledger cannot be read", action="read", error=str(error))
        return JSONResponse({"detail": "the ledger cannot be read at the moment"}, status_code=503)

    @app.exception_handler(RecursionError)
    async def too_deep(_request: Request, _error: Exception) -> JSONResponse:
        return JSONResponse({"detail": _TOO_DEEP}, status_code=501)

    return app
