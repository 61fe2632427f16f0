"""The admin API's server: sockets, limits, who may enter, and the step from bytes to models and back.

Nothing of a request but its peer, method, path, operation and status is ever logged.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from pydantic import BaseModel, ValidationError

from meshwright.control_plane.admin import errors, metrics, openapi
from meshwright.control_plane.admin.auth import CALLER_RIGHTS
from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import NoBody, RawJson, Route
from meshwright.control_plane.admin.routers import (
    events,
    jaeger,
    policies,
    prometheus_sd,
    proxies,
    requests,
    revisions,
    services,
    status,
    tap,
    tokens,
    topology,
    traces,
)
from meshwright.control_plane.admin.sse import SseStreams, accepts_event_stream
from meshwright.control_plane.api.auth import RefusalReason, RequestGuard, tokens_equal
from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.errors import ErrorResponse
from meshwright.control_plane.errors import InputError, MeshError, OverloadedError
from meshwright.control_plane.files import password

log = structlog.get_logger(__name__)

ROUTES: tuple[Route, ...] = (
    *policies.ROUTES,
    *events.ROUTES,
    *revisions.ROUTES,
    *services.ROUTES,
    *status.ROUTES,
    *proxies.ROUTES,
    *prometheus_sd.ROUTES,
    *tokens.ROUTES,
    *topology.ROUTES,
    *traces.ROUTES,
    *requests.ROUTES,
    *tap.ROUTES,
    *jaeger.ROUTES,
)

BODY_LIMIT = 4 * 1024 * 1024
"""Bytes a request's body may have: more than any mesh's policies, far less than memory."""

RETRY_AFTER = "5"
"""Seconds after which a caller for whom there was no room may come again."""

TOKEN_BYTES = 32
"""Random bytes in the admin token: 256 bits, not to be guessed."""

PUBLIC = frozenset({"/healthz", "/metrics", "/api/openapi.json"})
"""What needs no token: it tells of no policy and changes nothing."""

NO_PATH_TOKENS: Mapping[str, str] = {}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Model = TypeVar("Model", bound=ApiModel)


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server that listens on `port`."""

    runner: web.AppRunner
    port: int

    async def stop(self) -> None:
        """Finish the requests in flight and close the socket."""
        await self.runner.cleanup()


async def start(
    mesh: AdminContext,
    token: str,
    *,
    bind: str,
    port: int,
    hosts: Iterable[str] = (),
    read_token: str = "",
    path_tokens: Mapping[str, str] = NO_PATH_TOKENS,
) -> RunningServer:
    """Listen on `bind`:`port` (0: a free one); raises OSError when it cannot.

    `names` are further host names or addresses by which callers may reach it, `reading` the token for all
    that only shows something (empty: there is none), `readers` tokens for one path each.
    """
    known = frozenset({bind, *hosts}) - {"0.0.0.0", "::", ""}
    runner = web.AppRunner(
        build_app(mesh, RequestGuard(token, known, read_token, path_tokens)),
        access_log=None,
        handle_signals=False,
        shutdown_timeout=2.0,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, bind, port, reuse_port=False)
        await site.start()
    except OSError:
        await runner.cleanup()
        raise
    return RunningServer(runner, int(runner.addresses[0][1]))


def ensure_token(state: Path, name: str = "admin.token") -> str:
    """The token in STATE/`name`, made (0600) when there is none; raises InputError for no token."""
    path = state / name
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists():
        path.chmod(0o600)
        token = path.read_text().strip()
        if len(token) < TOKEN_BYTES:
            raise InputError(f"{path}: too short for a token: remove it and start again")
        return token
    token = secrets.token_urlsafe(TOKEN_BYTES)
    fresh = path.with_name(f".{name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    fresh.replace(path)
    return token


def ensure_read_token(state: Path, file: str, token: str) -> str:
    """The token that may only read: that of `file` where one is named, else of STATE/read.token.

    Raises InputError for no token, and for `token`, the one that may do everything.
    """
    found = password(Path(file)) if file else ensure_token(state, "read.token")
    if tokens_equal(found, token):
        where = file or state / "read.token"
        raise InputError(
            f"{where}: this is the admin token, which may change everything: write another there"
        )
    return found


def build_app(mesh: AdminContext, guard: RequestGuard) -> web.Application:
    """The aiohttp application with all routes; every request passes `guard`."""
    mesh = replace(mesh, run_in_thread=asyncio.to_thread)
    app = web.Application(
        client_max_size=BODY_LIMIT, middlewares=[_instrument, _authorize(guard), _format_errors]
    )
    streams = SseStreams()
    app.on_shutdown.append(streams.close_all)
    for route in ROUTES:
        endpoint = _endpoint(mesh, route, streams)
        app.router.add_route(route.method, route.full_path, endpoint, name=route.operation_id)
    described = openapi.document(ROUTES, _version())

    async def describe(_request: web.Request) -> web.StreamResponse:
        return web.json_response(described)

    app.router.add_get("/api/openapi.json", describe, name="openapi")
    app.router.add_get("/metrics", _metrics, name="metrics")
    app.router.add_get("/healthz", _healthy, name="healthz")
    return app


def _endpoint(mesh: AdminContext, route: Route, streams: SseStreams) -> Handler:
    async def respond(request: web.Request) -> web.StreamResponse:
        structlog.contextvars.bind_contextvars(peer=request.remote)
        params = _validate(route.params, _parameters(request))
        if route.stream and accepts_event_stream(request):
            last = request.headers.get("Last-Event-ID", "")
            return await streams.send(request, route.stream(mesh, params, last))
        body: ApiModel = NoBody()
        if route.body is not NoBody:
            body = _validate(route.body, await request.read())
        return _json_response(200, await route.handler(mesh, params, body))

    return respond


def _parameters(request: web.Request) -> dict[str, str]:
    """Path and query as one mapping; raises InputError for a parameter given twice."""
    found = dict(request.match_info)
    for name, value in request.query.items():
        if name in found:
            raise InputError(f"parameter {name[:40]!r} is given twice")
        found[name] = value
    return found


def _validate(model: type[Model], given: bytes | dict[str, str]) -> Model:
    """The model of a body or of parameters; raises InputError with the first problem."""
    try:
        if isinstance(given, bytes):
            return model.model_validate_json(given)
        return model.model_validate_strings(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        words = _in_words(model, where) if first["type"] == "string_pattern_mismatch" else ""
        words = words or first["msg"]
        raise InputError(f"{where}: {words}" if where else words) from None


def _in_words(model: type[ApiModel], field: str) -> str:
    """What a field has to be, as its description says; empty when there is none."""
    known = model.model_fields.get(field)
    told = known.description if known else None
    return f"has no such form: {told[0].lower()}{told[1:].rstrip('.')}" if told else ""


def _json_response(code: int, message: BaseModel) -> web.Response:
    text = message.text if isinstance(message, RawJson) else message.model_dump_json(by_alias=True)
    return web.Response(status=code, body=text.encode(), content_type="application/json")


@web.middleware
async def _instrument(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count, time and log each request."""
    started = time.perf_counter()
    operation = request.match_info.route.name or "unknown"
    code = 500
    try:
        response = await handler(request)
        code = response.status
        return response
    finally:
        seconds = time.perf_counter() - started
        metrics.REQUESTS.labels(operation, code).inc()
        metrics.SECONDS.labels(operation).observe(seconds)
        log.debug("admin request", operation=operation, status=code, ms=round(seconds * 1000, 1))


def _authorize(guard: RequestGuard) -> Middleware:
    shown = frozenset(route.operation_id for route in ROUTES if route.read_only)

    @web.middleware
    async def enter(request: web.Request, handler: Handler) -> web.StreamResponse:
        found = request.match_info
        operation = found.route.name or "unknown"
        shows = operation in shown or found.http_exception is not None  # 404 and 405 tell and change nothing
        refusal = guard.refusal(request.headers, request.path, public=request.path in PUBLIC, read_only=shows)
        if refusal:
            metrics.REFUSED.labels(refusal).inc()
            log.warning("admin request refused", reason=refusal, operation=operation)
            return _refused(refusal, operation)
        CALLER_RIGHTS.set(guard.rights(request.headers) or "read")
        return await handler(request)

    return enter


def _refused(refusal: RefusalReason, operation: str) -> web.Response:
    if refusal == "token":
        words = "no valid bearer token: it stands in admin.token of the mesh's state directory"
        response = _json_response(401, errors.error_body("unauthorized", words))
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    if refusal == "rights":
        words = f"this token may only read: {operation} takes the admin token"
        return _json_response(403, errors.error_body("refused", words))
    return _json_response(
        403, errors.error_body("refused", f"the {refusal} of this request is not this mesh's own")
    )


@web.middleware
async def _format_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Every error in the API's own form."""
    try:
        return await handler(request)
    except MeshError as error:
        response = _json_response(*errors.error_response(error))
        if isinstance(error, OverloadedError):
            response.headers["Retry-After"] = RETRY_AFTER
        return response
    except web.HTTPRequestEntityTooLarge:
        return _json_response(
            413, errors.error_body("too-large", f"the request is above {BODY_LIMIT // 1024 // 1024} MiB")
        )
    except web.HTTPMethodNotAllowed as error:
        response = _json_response(
            405, errors.error_body("not-allowed", f"{error.method} is not allowed here")
        )
        response.headers["Allow"] = error.headers["Allow"]
        return response
    except web.HTTPNotFound:
        return _json_response(404, errors.error_body("not-found", "no such path: see /api/openapi.json"))
    except Exception:
        log.exception("admin request failed", operation=request.match_info.route.name or "unknown")
        return _json_response(500, _internal())


def _internal() -> ErrorResponse:
    return errors.error_body("internal", "the control plane failed: see its log")


async def _metrics(_request: web.Request) -> web.StreamResponse:
    return web.Response(body=generate_latest(REGISTRY), headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _healthy(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


def _version() -> str:
    try:
        return version("meshwright")
    except PackageNotFoundError:
        return "0"
