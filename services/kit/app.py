"""The aiohttp application of a service: its operations, and what all services answer alike."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from meshwright.services.kit import openapi
from meshwright.services.kit.client import ServiceUnavailableError, idempotency_key
from meshwright.services.kit.health import HealthEndpoints
from meshwright.services.kit.metrics import ServiceMetrics
from meshwright.services.kit.operations import (
    ID_PATTERN,
    ErrorBody,
    ErrorDetail,
    HttpError,
    Operation,
    OperationRequest,
    OperationResponse,
)
from meshwright.services.kit.settings import ServiceSettings

MAX_BODY_BYTES = 64 * 1024
"""Bytes of a request's body; more is 413."""

MAX_KEY_LENGTH = 255
"""Characters of an Idempotency-Key."""

UNLOGGED_PATHS = ("/health", "/metrics", "/openapi.json")
"""Paths whose requests are not logged."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = structlog.get_logger()


def create_app(
    settings: ServiceSettings,
    operations: Iterable[Operation],
    health: HealthEndpoints,
    metrics: ServiceMetrics,
) -> web.Application:
    """All routes of a service, behind the middlewares that measure requests and give errors their form."""
    listed = list(operations)
    document = openapi.build_document(settings.service, settings.version, listed)

    async def describe(_: web.Request) -> web.Response:
        return web.json_response(document)

    async def measure(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.text(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )

    async def sign(_: web.Request, response: web.StreamResponse) -> None:
        response.headers["x-served-by"] = settings.instance
        response.headers["x-service-version"] = settings.version

    app = web.Application(middlewares=[_observing(metrics), _forming], client_max_size=MAX_BODY_BYTES)
    app.on_response_prepare.append(sign)
    app.add_routes([*health.routes(), web.get("/openapi.json", describe), web.get("/metrics", measure)])
    for operation in listed:
        path = operation.path.replace("}", f":{ID_PATTERN}}}")
        app.router.add_route(operation.method, path, _serving(operation))
    return app


def _observing(metrics: ServiceMetrics) -> Any:
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
async def _forming(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer every failure in the exchange's form of errors."""
    try:
        return await handler(request)
    except HttpError as problem:
        return _error(problem.status, problem.code, problem.message)
    except web.HTTPException as refusal:
        kept = {name: value for name, value in refusal.headers.items() if name in ("Allow", "Location")}
        code = refusal.reason.lower().replace(" ", "_")
        return _error(refusal.status, code, f"{refusal.reason}: {request.method} {request.path}", kept)
    except ServiceUnavailableError as failure:
        log.warning("neighbour unreachable", neighbour=failure.service, error=str(failure))
        return _error(
            503, f"{failure.service}_unavailable", f"{failure.service} cannot be reached: try again"
        )
    except (OperationalError, InterfaceError, PoolTimeout) as failure:
        log.error("database unavailable", error=type(failure).__name__, exc_info=True)
        return _error(503, "database_unavailable", "the database does not answer: try again")
    except Exception:  # the last resort, so that a fault is logged and has the form of an error
        log.error("request failed", method=request.method, path=request.path, exc_info=True)
        return _error(500, "internal", "something failed here that should not")


def _error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    body = ErrorBody(error=ErrorDetail(code=code, message=message))
    return web.json_response(text=body.model_dump_json(by_alias=True), status=status, headers=headers)


def _serving(operation: Operation) -> Handler:
    async def serve(request: web.Request) -> web.Response:
        key = _key(request, operation.needs_key)
        call: OperationRequest[Any, Any] = OperationRequest(
            path=dict(request.match_info),
            body=_valid(operation.body, await request.read()) if operation.body else None,
            query=_valid_query(operation.query, dict(request.query)) if operation.query else None,
            key=key,
        )
        token = idempotency_key.set(key)
        try:
            return _response(await operation.handler(call))
        finally:
            idempotency_key.reset(token)

    return serve


def _response(answer: OperationResponse) -> web.Response:
    headers = dict(answer.headers)
    if answer.body is None:
        return web.Response(status=answer.status, headers=headers)
    text = answer.body.model_dump_json(by_alias=True)
    return web.json_response(text=text, status=answer.status, headers=headers)


def _key(request: web.Request, needed: bool) -> str:
    key = request.headers.get("Idempotency-Key", "").strip()
    if needed and not key:
        raise HttpError(
            400, "idempotency_key_missing", "this request needs an Idempotency-Key header: any new word"
        )
    if len(key) > MAX_KEY_LENGTH or not (key.isascii() and key.isprintable()):
        raise HttpError(
            400,
            "idempotency_key_invalid",
            f"an Idempotency-Key is up to {MAX_KEY_LENGTH} printable characters",
        )
    return key


def _valid(model: type[BaseModel], content: bytes) -> BaseModel:
    try:
        return model.model_validate_json(content, strict=True)
    except ValidationError as error:
        broken = any(found["type"] == "json_invalid" for found in error.errors())
        raise HttpError(
            400 if broken else 422, "invalid_json" if broken else "invalid", _words(error)
        ) from None


def _valid_query(model: type[BaseModel], values: dict[str, str]) -> BaseModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise HttpError(422, "invalid", _words(error)) from None


def _words(error: ValidationError) -> str:
    """The first few faults of a body, each with the field it is about."""
    faults = error.errors(include_url=False, include_context=False, include_input=False)
    places = [(".".join(str(part) for part in fault["loc"]), fault["msg"]) for fault in faults[:5]]
    return "; ".join(f"{place}: {message}" if place else message for place, message in places)
