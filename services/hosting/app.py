"""The aiohttp application of a service: its operations, health, metrics, and one form of error responses."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from aiohttp import web
from opentelemetry import trace
from pydantic import BaseModel, ValidationError

from meshwright.services.hosting import openapi
from meshwright.services.hosting.health import HealthEndpoints
from meshwright.services.hosting.metrics import ServiceMetrics
from meshwright.services.kit.callers import Requester, caller_headers, headers_of_caller, read_caller
from meshwright.services.kit.client import ServiceUnavailableError, idempotency_key
from meshwright.services.kit.ids import ID_PATTERN
from meshwright.services.kit.operations import (
    DatabaseUnavailableError,
    ErrorBody,
    ErrorDetail,
    HttpError,
    Operation,
    OperationRequest,
    OperationResponse,
)
from meshwright.services.kit.settings import ServiceSettings
from meshwright.services.kit.spans import record_failure

MAX_BODY_BYTES = 64 * 1024
"""Bytes of a request's body. A larger one gets 413."""

MAX_KEY_LENGTH = 255
"""Characters of an Idempotency-Key."""

UNLOGGED_PATHS = ("/health", "/metrics", "/openapi.json")
"""Prefixes of paths whose requests are not logged."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = structlog.get_logger()


def create_app(
    settings: ServiceSettings,
    operations: Iterable[Operation],
    health: HealthEndpoints,
    metrics: ServiceMetrics,
    routes: Iterable[web.RouteDef],
) -> web.Application:
    """The routes of a service, with middleware that measures requests and formats errors.

    `routes` are those beside the operations.
    """
    operations = list(operations)
    document = openapi.build_document(settings.service, settings.version, operations)

    async def serve_openapi(_: web.Request) -> web.Response:
        return web.json_response(document)

    async def serve_metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.text(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-served-by"] = settings.instance
        response.headers["x-service-version"] = settings.version

    app = web.Application(
        middlewares=[_metrics_middleware(metrics), _error_middleware], client_max_size=MAX_BODY_BYTES
    )
    app.on_response_prepare.append(add_headers)
    app.add_routes(
        [
            *health.routes(),
            web.get("/openapi.json", serve_openapi),
            web.get("/metrics", serve_metrics),
            *routes,
        ]
    )
    for operation in operations:
        path = operation.path.replace("}", f":{ID_PATTERN}}}")
        app.router.add_route(operation.method, path, _operation_handler(operation))
    return app


def _metrics_middleware(metrics: ServiceMetrics) -> Any:
    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        start = time.perf_counter()
        response = await handler(request)
        seconds = time.perf_counter() - start
        resource = request.match_info.route.resource
        route = resource.canonical if resource else "unmatched"
        metrics.observe(request.method, route, response.status, seconds)
        if not request.path.startswith(UNLOGGED_PATHS):
            log.info(
                "request served",
                method=request.method,
                path=request.path,
                status=response.status,
                duration_ms=round(seconds * 1000, 3),
            )
        return response

    return observe


@web.middleware
async def _error_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn every failure into an ErrorBody."""
    try:
        return await handler(request)
    except HttpError as error:
        if isinstance(error, DatabaseUnavailableError):
            record_failure(trace.get_current_span(), error)
            log.error("database unavailable", exc_info=True)
        return _error_response(error.status, error.code, error.message)
    except web.HTTPException as error:
        headers = {name: value for name, value in error.headers.items() if name in ("Allow", "Location")}
        code = error.reason.lower().replace(" ", "_")
        message = f"{error.reason}: {request.method} {request.path}"
        return _error_response(error.status, code, message, headers)
    except ServiceUnavailableError as error:
        log.warning("upstream service unavailable", upstream=error.service, error=str(error))
        return _error_response(
            503, f"{error.service}_unavailable", f"{error.service} is unavailable: try again"
        )
    except Exception as error:  # the last resort: a bug is logged, and its response has the form of an error
        record_failure(trace.get_current_span(), error)
        log.error("request failed", method=request.method, path=request.path, exc_info=True)
        return _error_response(500, "internal", "internal error")


def _error_response(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> web.Response:
    body = ErrorBody(error=ErrorDetail(code=code, message=message))
    return web.json_response(text=body.model_dump_json(by_alias=True), status=status, headers=headers)


def _operation_handler(operation: Operation) -> Handler:
    async def handle(request: web.Request) -> web.Response:
        caller = read_caller(request.headers)
        _check_access(operation, caller)
        key = _parse_key(request, operation.needs_key)
        operation_request: OperationRequest[Any, Any] = OperationRequest(
            path=dict(request.match_info),
            body=_parse_body(operation.body, await request.read()) if operation.body else None,
            query=_parse_query(operation.query, dict(request.query)) if operation.query else None,
            key=key,
            caller_or_none=caller,
        )
        token = idempotency_key.set(key)
        caller_token = headers_of_caller.set(caller_headers(request.headers))
        try:
            return _to_response(await operation.handler(operation_request))
        finally:
            idempotency_key.reset(token)
            headers_of_caller.reset(caller_token)

    return handle


def _check_access(operation: Operation, caller: Requester | None) -> None:
    if caller is None and (operation.needs_caller or operation.roles):
        raise HttpError(401, "unauthenticated", "this request needs an access token: log in")
    if caller is not None and operation.roles and not operation.roles & caller.roles:
        needed = " or ".join(sorted(operation.roles))
        raise HttpError(403, "forbidden", f"this request needs the role {needed}")


def _to_response(response: OperationResponse) -> web.Response:
    headers = dict(response.headers)
    if response.body is None:
        return web.Response(status=response.status, headers=headers)
    text = response.body.model_dump_json(by_alias=True)
    return web.json_response(text=text, status=response.status, headers=headers)


def _parse_key(request: web.Request, required: bool) -> str:
    key = request.headers.get("Idempotency-Key", "").strip()
    if required and not key:
        message = "this request needs an Idempotency-Key header with a new value"
        raise HttpError(400, "idempotency_key_missing", message)
    if len(key) > MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        message = f"an Idempotency-Key has up to {MAX_KEY_LENGTH} printable characters"
        raise HttpError(400, "idempotency_key_invalid", message)
    return key


def _parse_body(model: type[BaseModel], content: bytes) -> BaseModel:
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        if any(problem["type"] == "json_invalid" for problem in error.errors()):
            raise HttpError(400, "invalid_json", _validation_message(error)) from None
        raise HttpError(422, "invalid", _validation_message(error)) from None


def _parse_query(model: type[BaseModel], values: dict[str, str]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise HttpError(422, "invalid", _validation_message(error)) from None


def _validation_message(error: ValidationError) -> str:
    """The first five problems, each with its field."""
    problems = error.errors(include_url=False, include_context=False, include_input=False)[:5]
    located = [(".".join(str(part) for part in problem["loc"]), problem["msg"]) for problem in problems]
    return "; ".join(f"{location}: {message}" if location else message for location, message in located)
