"""A gRPC server beside a service's HTTP API, with the same errors, traces and shutdown, and a health service.

It listens on `PORT_GRPC`. On SIGTERM it turns unhealthy, finishes in-flight calls and stops.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import structlog
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from opentelemetry import propagate, trace
from prometheus_client import Histogram

from meshwright.services.kit.operations import DatabaseUnavailableError, HttpError
from meshwright.services.kit.service import BUCKETS, Runtime
from meshwright.services.kit.spans import record_failure

MAX_REQUEST_BYTES = 64 * 1024
"""Bytes of a request. A larger one gets RESOURCE_EXHAUSTED."""

STATUS_CODES = {
    404: grpc.StatusCode.NOT_FOUND,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""The gRPC status of an HttpError. Others become FAILED_PRECONDITION."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RpcMethod:
    """One unary method. `handler` gets a message of type `request` and may raise HttpError."""

    service: str
    method: str
    request: type[Message]
    handler: Callable[[Any], Awaitable[Message]]

    @property
    def path(self) -> str:
        """The HTTP/2 path."""
        return f"/{self.service}/{self.method}"


@asynccontextmanager
async def serve_rpcs(runtime: Runtime, methods: Iterable[RpcMethod]) -> AsyncIterator[int]:
    """Serve `methods` until the end of the context; yields the port. Raises OSError when it is in use."""
    settings, methods = runtime.settings, list(methods)
    duration = Histogram(
        "grpc_request_duration_seconds",
        "Duration of gRPC calls.",
        ("method", "code"),
        buckets=BUCKETS,
        registry=runtime.registry,
    )
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", MAX_REQUEST_BYTES), ("grpc.so_reuseport", 0)]
    )
    services = {method.service for method in methods}
    for service in services:
        handlers = {
            method.method: _method_handler(method, duration)
            for method in methods
            if method.service == service
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    port = _bind(server, settings.host, settings.grpc_port)
    await server.start()
    for service in ("", *services):
        await health.set(service, health_pb2.HealthCheckResponse.SERVING)
    log.info("listening for gRPC", host=settings.host, grpc_port=port)
    try:
        yield port
    finally:
        await health.enter_graceful_shutdown()
        await server.stop(settings.drain_seconds)


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    try:
        return server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"gRPC at {host}:{port}: {error}") from None


def _method_handler(method: RpcMethod, duration: Histogram) -> grpc.RpcMethodHandler[Any, Any]:
    tracer = trace.get_tracer(__name__)

    async def handle(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        carrier = {str(key): value for key, value in context.invocation_metadata() or ()}
        code, message, start = grpc.StatusCode.OK, "", time.perf_counter()
        with tracer.start_as_current_span(
            method.path[1:], propagate.extract(carrier), kind=trace.SpanKind.SERVER
        ) as span:
            try:
                response = await method.handler(request)
            except Exception as error:  # becomes a status; unexpected ones are logged
                code, message = _error_status(method, error)
                record_failure(span, error)
            finally:
                duration.labels(method.path, code.name).observe(time.perf_counter() - start)
        if code is not grpc.StatusCode.OK:
            await context.abort(code, message)
        return response

    return grpc.unary_unary_rpc_method_handler(
        handle,
        request_deserializer=method.request.FromString,
        response_serializer=lambda response: response.SerializeToString(),
    )


def _error_status(method: RpcMethod, error: Exception) -> tuple[grpc.StatusCode, str]:
    if isinstance(error, HttpError):
        if isinstance(error, DatabaseUnavailableError):
            log.error("database unavailable", exc_info=True)
        return STATUS_CODES.get(error.status, grpc.StatusCode.FAILED_PRECONDITION), error.message
    log.error("request failed", method=method.path, exc_info=True)
    return grpc.StatusCode.INTERNAL, "internal error"
