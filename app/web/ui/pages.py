"""The pages of the console, read-only but for queueing dead deliveries again."""

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request
from starlette.responses import Response

from app.store.reading import Reader
from app.telemetry.metrics import Metrics
from app.web.health import Health
from app.web.ledgers import WholeLedger, viewer_of
from app.web.rights import only_who_sees_all
from app.web.ui import actors, deliveries, entries, objects, static, status, timeline
from app.web.ui.installation import Installation
from app.web.ui.routing import PageRoute


def router(health: Health, metrics: Metrics, installation: Callable[[], Installation] = Installation) -> APIRouter:
    """Return the routes; each request reads the ledger on its own connection, in a worker thread."""
    opened_ledger = Annotated[Reader, Depends(_counted)]
    routes = APIRouter(include_in_schema=False, route_class=PageRoute, default_response_class=Response)

    @routes.get("/")
    def timeline_page(request: Request, ledger: opened_ledger) -> Response:
        return timeline.page_of(request, ledger)

    @routes.get("/rows")
    def rows(request: Request, ledger: opened_ledger) -> Response:
        return timeline.rows_after(request, ledger)

    @routes.get("/chart")
    def chart(request: Request, ledger: opened_ledger) -> Response:
        return timeline.chart_of(request, ledger)

    @routes.get("/entries/{entry_id}")
    def entry_page(request: Request, ledger: opened_ledger, entry_id: str) -> Response:
        return entries.page_of(request, ledger, entry_id)

    @routes.get("/objects/{identity:path}")
    def object_page(request: Request, ledger: opened_ledger) -> Response:
        return objects.page_of(request, ledger)

    @routes.get("/actors")
    def actors_page(request: Request, ledger: opened_ledger) -> Response:
        return actors.page_of(request, ledger)

    @routes.get("/deliveries", dependencies=[Depends(only_who_sees_all)])
    def deliveries_page(request: Request, ledger: opened_ledger) -> Response:
        return deliveries.page_of(request, ledger)

    @routes.post("/deliveries/requeue")
    async def requeue(request: Request) -> Response:
        return await deliveries.requeued(request)

    @routes.get("/status", dependencies=[Depends(only_who_sees_all)])
    def status_page(request: Request, ledger: opened_ledger) -> Response:
        return status.page_of(request, ledger, health, metrics, installation())

    routes.get("/static/{name}")(_static_file)
    return routes


def _counted(request: Request, ledger: WholeLedger) -> Reader:
    """Return the ledger; every page says how many deliveries are dead to those who may see the list of them."""
    counts = ledger.delivery_counts().states if viewer_of(request).sees_all else {}
    request.state.dead = counts.get("dead", 0)
    return ledger


def _static_file(request: Request, name: str) -> Response:
    try:
        return static.serve(request, name)
    except KeyError:
        raise HTTPException(404, "There is no such file.") from None
