"""A gRPC server beside a service's REST: the same problems, traces and end, and gRPC's health service.

It listens where `PORT_GRPC` says. On SIGTERM it turns unhealthy, finishes what is in flight and stops.
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
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from meshwright.services.kit.metrics import BUCKETS
from meshwright.services.kit.operations import HttpError
from meshwright.services.kit.server import Runtime

MAX_REQUEST_BYTES = 64 * 1024
"""Bytes of one request; more is RESOURCE_EXHAUSTED."""

STATUS_CODES = {
    404: grpc.StatusCode.NOT_FOUND,
    422: grpc.StatusCode.INVALID_ARGUMENT,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
"""A Problem's HTTP status as gRPC says it; any other is FAILED_PRECONDITION."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RpcMethod:
    """One unary method. `handler` gets a `request` and may raise Problem."""

    service: str
    method: str
    request: type[Message]
    handler: Callable[[Any], Awaitable[Message]]

    @property
    def path(self) -> str:
        """As HTTP/2 sees it."""
        return f"/{self.service}/{self.method}"


@asynccontextmanager
async def serve_rpcs(runtime: Runtime, rpcs: Iterable[RpcMethod]) -> AsyncIterator[int]:
    """Serve `rpcs` until the end of the context; gives the port. Raises OSError when it cannot be had."""
    settings, listed = runtime.settings, list(rpcs)
    duration = Histogram(
        "grpc_request_duration_seconds",
        "Time to answer",
        ("method", "code"),
        buckets=BUCKETS,
        registry=runtime.metrics.registry,
    )
    server = grpc.aio.server(
        options=[("grpc.max_receive_message_length", MAX_REQUEST_BYTES), ("grpc.so_reuseport", 0)]
    )
    for service in {rpc.service for rpc in listed}:
        methods = {rpc.method: _method(rpc, duration) for rpc in listed if rpc.service == service}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
    state = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    port = _bind(server, settings.host, settings.grpc_port)
    await server.start()
    for service in ("", *(rpc.service for rpc in listed)):
        await state.set(service, health_pb2.HealthCheckResponse.SERVING)
    log.info("listening for gRPC", host=settings.host, grpc_port=port)
    try:
        yield port
    finally:
        await state.enter_graceful_shutdown()
        await server.stop(settings.drain_seconds)


def _bind(server: grpc.aio.Server, host: str, port: int) -> int:
    try:
        return server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"gRPC at {host}:{port}: {error}") from None


def _method(rpc: RpcMethod, duration: Histogram) -> grpc.RpcMethodHandler[Any, Any]:
    tracer = trace.get_tracer(__name__)

    async def serve(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
        carrier = {str(key): value for key, value in context.invocation_metadata() or ()}
        code, words, start = grpc.StatusCode.OK, "", time.perf_counter()
        with tracer.start_as_current_span(
            rpc.path[1:], propagate.extract(carrier), kind=trace.SpanKind.SERVER
        ):
            try:
                answer = await rpc.handler(request)
            except Exception as failure:  # each becomes a status; what has none is logged
                code, words = _status(rpc, failure)
            finally:
                duration.labels(rpc.path, code.name).observe(time.perf_counter() - start)
        if code is not grpc.StatusCode.OK:
            await context.abort(code, words)
        return answer

    return grpc.unary_unary_rpc_method_handler(
        serve,
        request_deserializer=rpc.request.FromString,
        response_serializer=lambda answer: answer.SerializeToString(),
    )


def _status(rpc: RpcMethod, failure: Exception) -> tuple[grpc.StatusCode, str]:
    if isinstance(failure, HttpError):
        return STATUS_CODES.get(failure.status, grpc.StatusCode.FAILED_PRECONDITION), failure.message
    if isinstance(failure, OperationalError | InterfaceError | PoolTimeout):
        log.error("database unavailable", error=type(failure).__name__, exc_info=True)
        return grpc.StatusCode.UNAVAILABLE, "the database does not answer: try again"
    log.error("request failed", method=rpc.path, exc_info=True)
    return grpc.StatusCode.INTERNAL, "something failed here that should not"
