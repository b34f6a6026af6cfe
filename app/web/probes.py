"""`/livez`, `/readyz` and `/metrics` of the console port."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from app.telemetry.metrics import Metrics
from app.web.health import Health


def router(health: Health, metrics: Metrics) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["probes"])

    @routes.get("/livez", response_class=PlainTextResponse)
    async def livez() -> str:
        """Say that the process runs; depends on nothing else."""
        return "ok"

    @routes.get("/readyz", responses={503: {"description": "Reviews should go elsewhere."}})
    async def readyz() -> JSONResponse:
        """Say whether reviews should come here, and the state of each part."""
        ready, report = health.report()
        return JSONResponse(report, status_code=200 if ready else 503)

    @routes.get("/metrics", response_class=PlainTextResponse)
    def metrics_page() -> Response:
        """Return the metrics in Prometheus' text format."""
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return routes
