"""`/livez`, `/readyz` and `/metrics` of the console port."""

from __future__ import annotations

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse, PlainTextResponse

from app.telemetry.metrics import Metrics
from app.web import light
from app.web.health import Health


def router(health: Health, metrics: Metrics) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["probes"])

    @routes.get("/livez", response_class=PlainTextResponse)
    async def livez() -> Response:
        """Say that the process runs; depends on nothing else."""
        return light.livez()

    @routes.get("/readyz", response_class=JSONResponse, responses={503: {"description": "It does not do its work."}})
    async def readyz() -> Response:
        """Say whether the process does its work (whether reviews should come here), and the state of each part."""
        return light.readyz(health)

    @routes.get("/metrics", response_class=PlainTextResponse)
    def metrics_page() -> Response:
        """Return the metrics in Prometheus' text format."""
        return light.metrics_page(metrics)

    return routes
