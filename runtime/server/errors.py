"""What a client is told when it does not get what it asked for, in OpenAI's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from airgap.errors import AirgapError, UsageError
from runtime.engine.scheduler import StoppedError
from runtime.server import limits

INVALID = "invalid_request_error"
SERVER = "server_error"


class ApiError(HTTPException):
    """A refusal or a failure, as OpenAI's clients read it.

    Attributes:
        kind: OpenAI's `type`.
        code: a stable word for programs.
        param: the field of the request that is wrong, None where it is none.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        kind: str = INVALID,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, message, dict(headers or {}))
        self.kind, self.code, self.param = kind, code, param

    def body(self) -> dict[str, Any]:
        """The JSON document."""
        error = {"message": self.detail, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": error}

    def response(self) -> JSONResponse:
        """The whole response."""
        return JSONResponse(self.body(), self.status_code, self.headers)


def wrong(message: str, param: str | None, code: str | None = None) -> ApiError:
    """A 400: the request asks for what cannot be."""
    return ApiError(400, message, code=code, param=param)


def unknown_model(name: str, known: Sequence[str]) -> ApiError:
    """A 404 for a model that is not served."""
    message = f"The model '{name[:100]}' is not served here; expected one of: {', '.join(known)}"
    return ApiError(404, message, code="model_not_found", param="model")


def bad_key() -> ApiError:
    """A 401, the same for a missing key and for a wrong one."""
    return ApiError(
        401,
        "Expected an API key of this server, as 'Authorization: Bearer KEY'",
        code="invalid_api_key",
        headers={"WWW-Authenticate": "Bearer"},
    )


def too_large(most: int) -> ApiError:
    """A 413."""
    return ApiError(
        413, f"The request is larger than {most} bytes", code="upload_too_large", param="file"
    )


def too_slow() -> ApiError:
    """A 408: the body did not arrive in time."""
    return ApiError(408, "The request's body did not arrive in time", code="upload_too_slow")


def too_many(message: str, code: str) -> ApiError:
    """A 429 with Retry-After."""
    headers = {"Retry-After": str(limits.RETRY_SECONDS)}
    return ApiError(429, message, code=code, kind="rate_limit_error", headers=headers)


def not_now(message: str, code: str) -> ApiError:
    """A 503 with Retry-After: loading, or draining."""
    headers = {"Retry-After": str(limits.RETRY_SECONDS)}
    return ApiError(503, message, code=code, kind=SERVER, headers=headers)


def broken(message: str) -> ApiError:
    """A 500: the engine failed, and there is no partial result."""
    return ApiError(500, message, code="engine_error", kind=SERVER)


def from_engine(error: Exception, param: str | None = None) -> ApiError:
    """What the engine or the decoder refused (400), or failed at (500)."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, StoppedError):
        return not_now("The server was stopped before this was finished", "stopping")
    if isinstance(error, UsageError) and param == "file":
        next_step = f"; {error.hint}" if error.hint else ""
        return wrong(f"{error.message}{next_step}", param, "invalid_audio")
    if isinstance(error, UsageError):
        return wrong(error.message, param)
    if isinstance(error, AirgapError):
        return broken(error.message)
    return broken(f"{type(error).__name__}: this is a bug of the server's")
