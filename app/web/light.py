"""A console that answers probes and scrapes by itself, and loads the API when somebody asks for it.

FastAPI with its models is a tenth of what the watcher would need of memory, and most watchers are never asked.
"""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from app.telemetry.metrics import Metrics
from app.web.health import Health


def livez() -> Response:
    """Say that the process runs; depends on nothing else."""
    return PlainTextResponse("ok")


def readyz(health: Health) -> Response:
    """Say whether the process does its work, and the state of each part."""
    ready, report = health.report()
    return JSONResponse(report, status_code=200 if ready else 503)


def metrics_page(metrics: Metrics) -> Response:
    """Return the metrics in Prometheus' text format."""
    return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)


def _not_allowed() -> Response:
    return JSONResponse({"detail": "Method Not Allowed"}, status_code=405, headers={"Allow": "GET"})


class LightConsole:
    """Answers probes; every other request goes to the application that `load` returns, once it is needed."""

    def __init__(self, health: Health, metrics: Metrics, load: Callable[[], ASGIApp]) -> None:
        self._answers: dict[str, Callable[[], Response]] = {
            "/livez": livez,
            "/readyz": lambda: readyz(health),
            "/metrics": lambda: metrics_page(metrics),
        }
        self._load = load
        self._loaded: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        answer = self._answers.get(scope["path"]) if scope["type"] == "http" else None
        if answer is not None:
            # Nobody need be known for these: whatever else is wanted of them must not load anything.
            made = answer() if scope["method"] in ("GET", "HEAD") else _not_allowed()
            await made(scope, receive, send)
            return
        if self._loaded is None:
            self._loaded = self._load()
        await self._loaded(scope, receive, send)
