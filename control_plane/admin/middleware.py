"""Middlewares of the admin API: metrics and log, authorization, error responses."""

from __future__ import annotations

import time
from collections.abc import Set as AbstractSet

import structlog
from aiohttp import web
from aiohttp.typedefs import Middleware

from meshwright.control_plane.admin import metrics
from meshwright.control_plane.admin.auth import CALLER_RIGHTS
from meshwright.control_plane.admin.compute import caller_limits
from meshwright.control_plane.admin.endpoint import Handler, json_response
from meshwright.control_plane.admin.errors import error_body, error_response
from meshwright.control_plane.api.auth import RefusalReason, RequestGuard
from meshwright.control_plane.errors import MeshError, OverloadedError
from meshwright.control_plane.peer_log import PeerLog

log = structlog.get_logger(__name__)

RETRY_AFTER = "5"
"""Seconds after which a caller may retry when the server is busy."""

PUBLIC_PATHS = frozenset({"/healthz", "/metrics", "/api/openapi.json"})
"""Paths that need no token: they expose no policy and change nothing."""


@web.middleware
async def instrument(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Count, time and log each request."""
    structlog.contextvars.bind_contextvars(peer=request.remote)
    started = time.perf_counter()
    operation = _operation(request)
    status = 500
    try:
        response = await handler(request)
        status = response.status
        return response
    finally:
        seconds = time.perf_counter() - started
        metrics.REQUESTS.labels(operation, status).inc()
        metrics.SECONDS.labels(operation).observe(seconds)
        log.debug("admin request", operation=operation, status=status, ms=round(seconds * 1000, 1))


def authorize(guard: RequestGuard, read_only_operations: AbstractSet[str], lines: PeerLog) -> Middleware:
    """A middleware that lets a request pass if `guard` does. Refusals are logged to `lines`."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        operation = _operation(request)
        # 404 and 405 neither expose nor change anything
        read_only = operation in read_only_operations or request.match_info.http_exception is not None
        public = request.path in PUBLIC_PATHS
        refusal = guard.refusal(request.headers, request.path, public=public, read_only=read_only)
        if refusal:
            metrics.REFUSED.labels(refusal).inc()
            lines.warning(
                "admin request denied", request.remote or "unknown", reason=refusal, operation=operation
            )
            return _denied(refusal, operation)
        CALLER_RIGHTS.set(guard.rights(request.headers) or "read")
        return await handler(request)

    return check


def _denied(refusal: RefusalReason, operation: str) -> web.Response:
    if refusal == "token":
        message = "no valid bearer token: use the one in admin.token of the mesh's state directory"
        response = json_response(401, error_body("unauthorized", message))
        response.headers["WWW-Authenticate"] = "Bearer"
        return response
    if refusal == "rights":
        message = f"this token is read-only: {operation} requires the admin token"
        return json_response(403, error_body("refused", message))
    return json_response(403, error_body("refused", f"the {refusal} of this request is not allowed"))


def format_errors(body_limit: int) -> Middleware:
    """A middleware that turns every error into an ErrorResponse."""

    @web.middleware
    async def respond(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except MeshError as error:
            response = json_response(*error_response(error))
            if isinstance(error, OverloadedError):
                response.headers["Retry-After"] = RETRY_AFTER
            return response
        except web.HTTPRequestEntityTooLarge:
            limit = min(body_limit, caller_limits().body_bytes)
            message = f"the request is larger than {limit // 1024 // 1024} MiB"
            return json_response(413, error_body("too-large", message))
        except web.HTTPMethodNotAllowed as error:
            response = json_response(405, error_body("not-allowed", f"{error.method} is not allowed here"))
            response.headers["Allow"] = error.headers["Allow"]
            return response
        except web.HTTPNotFound:
            return json_response(404, error_body("not-found", "no such path: see /api/openapi.json"))
        except Exception:
            log.exception("admin request failed", operation=_operation(request))
            return json_response(500, error_body("internal", "internal error: see the control plane's log"))

    return respond


def _operation(request: web.Request) -> str:
    return request.match_info.route.name or "unknown"
