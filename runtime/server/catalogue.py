"""`GET /v1/models` and `/v1/inventory`: what is served, and who vouches for it."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter

from runtime.offline import Isolation
from runtime.server import errors, schemas
from runtime.server.service import Loaded, Service

_REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": schemas.ErrorBody, "description": "The API key is missing or wrong."},
    503: {"model": schemas.ErrorBody, "description": "The server is loading or draining."},
}
_NO_MODEL: Final[dict[int | str, dict[str, Any]]] = {
    404: {"model": schemas.ErrorBody, "description": "There is no such model."}
}


def router(service: Service, isolation: Isolation | None) -> APIRouter:
    """The routes.

    Args:
        service: what is served.
        isolation: what keeps this process from a network; None where nothing does.
    """
    routes = APIRouter(tags=["Models"], responses=_REFUSALS)

    @routes.get("/v1/models", summary="List the models")
    async def models() -> schemas.ModelList:
        """The bundle's own names, and the presets."""
        loaded = service.ready()
        return schemas.ModelList(data=[_model(loaded, name) for name in loaded.names])

    @routes.get("/v1/models/{model}", summary="One model", responses=_NO_MODEL)
    async def model(model: str) -> schemas.ModelBody:
        """One of them."""
        loaded = service.ready()
        if model not in loaded.names:
            raise errors.unknown_model(model, loaded.names)
        return _model(loaded, model)

    @routes.get("/v1/inventory", summary="What is served, and who signed it")
    async def inventory() -> schemas.Inventory:
        """The verdict over the bundle and its inventory: every model's bytes matched it."""
        loaded = service.ready()
        return schemas.Inventory(
            verdict=schemas.Verdict(**loaded.verdict),
            serving=list(loaded.engines),
            languages={name: list(one.languages) for name, one in loaded.engines.items()},
            network=_network(isolation),
            inventory=dict(loaded.inventory),
        )

    return routes


def _network(isolation: Isolation | None) -> schemas.Network:
    if isolation is None:
        return schemas.Network(offline=False, mechanisms=[], escapes_tried=0)
    return schemas.Network(
        offline=True,
        mechanisms=list(isolation.mechanisms),
        escapes_tried=len(isolation.escapes_tried),
    )


def _model(loaded: Loaded, name: str) -> schemas.ModelBody:
    return schemas.ModelBody(id=name, created=loaded.created, owned_by=loaded.verdict["bundle"])
