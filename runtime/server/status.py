"""`GET /health`, `/ready` and `/metrics`."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from runtime.engine.scheduler import Scheduler
from runtime.server import metrics as numbers
from runtime.server import schemas
from runtime.server.metrics import Metrics
from runtime.server.places import Places
from runtime.server.service import Service


def router(service: Service, scheduler: Scheduler, places: Places, metrics: Metrics) -> APIRouter:
    """The routes. The first two need no key."""
    routes = APIRouter(tags=["Status"])

    @routes.get("/health", summary="Is the process alive")
    async def health() -> schemas.Status:
        """200 as long as it answers."""
        return schemas.Status(status="ok")

    @routes.get(
        "/ready",
        summary="Are requests taken",
        responses={503: {"model": schemas.ErrorBody, "description": "Loading, or draining."}},
    )
    async def ready() -> schemas.Status:
        """200 after a real inference with the model that is served."""
        service.ready()
        return schemas.Status(status="ready")

    @routes.get(
        "/metrics",
        summary="Numbers for Prometheus",
        response_class=Response,
        responses={
            200: {"description": "Prometheus' text format.", "content": {"text/plain": {}}},
            401: {"model": schemas.ErrorBody, "description": "The API key is missing or wrong."},
        },
    )
    async def prometheus() -> Response:
        """Requests, queue, audio seconds, real-time factor, load times, refusals."""
        metrics.waiting.set(scheduler.waiting)
        metrics.active.set(scheduler.active)
        metrics.places.set(places.taken)
        return Response(metrics.text(), headers={"Content-Type": numbers.CONTENT_TYPE})

    return routes
