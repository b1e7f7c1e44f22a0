"""The whole API as one ASGI application."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartParser
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp

from airgap import __version__
from airgap.errors import AirgapError
from airgap.host_key import HostKey
from runtime.engine.scheduler import Scheduler
from runtime.offline import Isolation
from runtime.server import (
    catalogue,
    documentation,
    errors,
    limits,
    page,
    schemas,
    status,
    transcribing,
)
from runtime.server.errors import ApiError
from runtime.server.gateway import Gate, Intake, Journal
from runtime.server.keys import Keys
from runtime.server.limits import Limits
from runtime.server.metrics import Metrics
from runtime.server.places import Places
from runtime.server.service import Service, Source
from runtime.server.transcribing import Desk

TITLE = "airgap transcription server"


@dataclass(frozen=True)
class House:
    """What the application is made of.

    Attributes:
        key: signs its answers; None where they are not signed.
        isolation: what keeps this process from a network; None where nothing does.
    """

    service: Service
    scheduler: Scheduler
    keys: Keys
    places: Places
    bounds: Limits
    metrics: Metrics
    log_text: bool = False
    key: HostKey | None = None
    isolation: Isolation | None = None

    @classmethod
    def of(
        cls,
        source: Source,
        keys: Keys,
        bounds: Limits,
        *,
        log_text: bool = False,
        key: HostKey | None = None,
        isolation: Isolation | None = None,
    ) -> House:
        """What serves a source within these bounds; nothing is loaded yet."""
        metrics = Metrics()
        return cls(
            service=Service(source, metrics),
            scheduler=Scheduler(source.workers, bounds.concurrency),
            keys=keys,
            places=Places(bounds),
            bounds=bounds,
            metrics=metrics,
            log_text=log_text,
            key=key,
            isolation=isolation,
        )


def build(house: House) -> ASGIApp:
    """The application, behind everything that a request must pass."""
    app: ASGIApp = api(house)
    app = Intake(app, house.service, house.places, house.bounds, house.metrics)
    app = Gate(app, house.keys, house.metrics)
    return Journal(app, house.metrics)


def api(house: House) -> FastAPI:
    """The routes alone, with the document that describes them."""
    app = FastAPI(
        title=TITLE,
        version=__version__,
        description="OpenAI's audio API, served from a signed bundle by a process that has left "
        "the network.",
        docs_url=None,  # its pages load scripts from a CDN
        redoc_url=None,
        redirect_slashes=False,
        form_limits={
            "max_files": 1,
            "max_fields": limits.FORM_FIELDS,
            "max_part_size": limits.FIELD_BYTES,
        },
        # It would report wherever a provider is configured; here nothing is reported.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    desk = Desk(
        house.service,
        house.scheduler,
        house.metrics,
        house.bounds.audio_seconds,
        house.log_text,
        house.key,
    )
    app.include_router(transcribing.router(desk))
    app.include_router(catalogue.router(house.service, house.isolation))
    app.include_router(status.router(house.service, house.scheduler, house.places, house.metrics))
    _add_documentation(app)
    page.add_to(app)
    _word_errors(app)
    _complete_document(app)
    return app


def use_spool(folder: Path, bounds: Limits) -> None:
    """Where uploads go that are too large for memory. For the whole process.

    Files there have no name (O_TMPFILE), or lose it at once: nobody else opens them, and what a
    crash leaves is gone.
    """
    MultiPartParser.spool_max_size = bounds.memory_bytes
    tempfile.tempdir = str(folder)


def _add_documentation(app: FastAPI) -> None:
    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(documentation.render(app.openapi()), headers=documentation.HEADERS)


def _word_errors(app: FastAPI) -> None:
    """Every error in OpenAI's shape, whoever raised it."""

    @app.exception_handler(ApiError)
    async def api_error(_request: Request, error: ApiError) -> Response:
        return error.response()

    @app.exception_handler(HTTPException)
    async def http_error(_request: Request, error: HTTPException) -> Response:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code)
        worded = ApiError(error.status_code, str(error.detail), code=code, headers=error.headers)
        return worded.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        param = str(first["loc"][-1]).removesuffix("[]")
        return errors.wrong(f"{param}: {first['msg']}", param).response()

    @app.exception_handler(AirgapError)
    async def failed(_request: Request, error: AirgapError) -> Response:
        return errors.from_engine(error).response()

    @app.exception_handler(Exception)
    async def unexpected(_request: Request, error: Exception) -> Response:
        return errors.from_engine(error).response()


def _complete_document(app: FastAPI) -> None:
    """The document says what FastAPI cannot know: the key, 400 for 422, bodies made by hand."""
    original = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = original()
            parts = made.setdefault("components", {})
            parts["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            made["security"] = [{"key": []}, {}]
            known = parts.setdefault("schemas", {})
            for left in ("HTTPValidationError", "ValidationError"):
                known.pop(left, None)
            template = "#/components/schemas/{model}"
            for body in (
                schemas.Transcription,
                schemas.Translation,
                schemas.VerboseTranscription,
                schemas.DiarizedTranscription,
            ):
                shown = body.model_json_schema(ref_template=template)
                known.update(shown.pop("$defs", {}))
                known[body.__name__] = shown
            for operations in made["paths"].values():
                for operation in operations.values():
                    operation["responses"].pop("422", None)
        assert app.openapi_schema is not None  # noqa: S101 - set by FastAPI's own method
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
