"""The OTLP port: metrics, spans and log records over gRPC with mutual TLS.

The client certificate identifies the sender. Messages are queued and processed in small slices, because xDS
shares the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import NoReturn, cast

import grpc
import structlog

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import CallerCheck
from meshwright.control_plane.errors import PermissionDeniedError
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.ingest.queue import (
    MAX_MESSAGE_BYTES,
    FairQueue,
    QueuedMessage,
    Signal,
)
from meshwright.control_plane.tls import LogThrottle, ReloadableCertificates, TlsCredentials, listen_address

SERVICES: dict[Signal, str] = {
    "metrics": "opentelemetry.proto.collector.metrics.v1.MetricsService",
    "traces": "opentelemetry.proto.collector.trace.v1.TraceService",
    "logs": "opentelemetry.proto.collector.logs.v1.LogsService",
}

SLICE_SECONDS = 0.001
"""How long processing may run before other tasks get their turn."""

PAUSE_SECONDS = 0.001
"""How long processing pauses between two slices, so that it uses at most half of a CPU."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 100),
    # Twice the limit, so that messages slightly above it are counted as too large.
    ("grpc.max_receive_message_length", 2 * MAX_MESSAGE_BYTES),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.max_allowed_incoming_connections", 20_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

MAX_CONCURRENT_CALLS = 256
"""Calls read at the same time. With the limit on messages this bounds the memory a flood can hold."""

MAX_CALLS_PER_IDENTITY = 64
"""Calls of one identity read at the same time: calls that send nothing leave room for other identities."""

READ_TIMEOUT = 5.0
"""Seconds to wait for the message of a call."""

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[bytes, bytes]
SignalHandler = Callable[[Identity, bytes, float], Iterator[None]]
"""Processes one message: its sender, its body and when it was received. Yields after each small step."""


class OtlpServer:
    """The gRPC server. `handlers` process messages by signal; a signal without one is unimplemented."""

    def __init__(
        self,
        bind: str,
        port: int,
        trust_domain: str,
        credentials: TlsCredentials,
        handlers: Mapping[Signal, SignalHandler],
        *,
        callers: CallerCheck | None = None,
        connection_age: float = 3600.0,
    ) -> None:
        """`callers` refuses evicted clients. `connection_age`: seconds until a client must reconnect and show
        its certificate again.
        """
        self._address = listen_address(bind, port)
        self._callers = callers or CallerCheck(trust_domain)
        self._certificates = ReloadableCertificates(credentials)
        self._handlers = dict(handlers)
        self._connection_age = connection_age
        self._log_throttle = LogThrottle()
        self.queue = FairQueue()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._calls: Counter[Identity] = Counter()
        self._server: grpc.aio.Server | None = None
        self._worker: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Start listening and return the port. Raises RuntimeError if the port is in use."""
        connection_ages = (
            ("grpc.max_connection_age_ms", int(self._connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", 1000),
        )
        self._server = grpc.aio.server(
            options=[*OPTIONS, *connection_ages], maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS
        )
        self._server.add_generic_rpc_handlers(
            tuple(
                grpc.method_handlers_generic_handler(SERVICES[signal], {"Export": self._method(signal)})
                for signal in self._handlers
            )
        )
        port = self._server.add_secure_port(self._address, self._certificates.server_credentials())
        await self._server.start()
        self._worker = asyncio.create_task(self._process_queue())
        return port

    async def stop(self, drain_timeout: float = 0.0) -> None:
        """Close the port, process queued messages for up to `drain_timeout` seconds and drop the rest."""
        if self._server is not None:
            await self._server.stop(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_timeout):
                await self._idle.wait()
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker

    @property
    def is_idle(self) -> bool:
        """Whether every message received so far has been processed."""
        return self._idle.is_set()

    def update_credentials(self, credentials: TlsCredentials) -> None:
        """Use another certificate (or other roots) for new connections; open ones stay."""
        self._certificates.replace(credentials)

    def _method(self, signal: Signal) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def export(messages: AsyncIterator[bytes], context: Context) -> bytes:
            try:
                identity = self._callers.identify(context.auth_context() or {}).identity
                if identity.role == "control-plane":
                    raise PermissionDeniedError(f"{identity.uri} is not a sidecar")
            except PermissionDeniedError as error:
                await self._deny(context, str(error))
            body = await self._read(identity, messages, context)
            metrics.RECEIVED.labels(signal).inc()
            result = self.queue.enqueue(QueuedMessage(signal, identity, body, time.monotonic()))
            for reason in result.dropped:
                metrics.DROPPED.labels(reason).inc()
            if not result.accepted:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, result.dropped[0])
            metrics.QUEUED.set(self.queue.queued_bytes)
            self._idle.clear()
            self._arrived.set()
            # An empty response of each of the three services means that everything was accepted.
            return b""

        # Registered as a stream of one message: only then does this method read it, and can limit the time.
        return cast("grpc.RpcMethodHandler[bytes, bytes]", grpc.stream_unary_rpc_method_handler(export))

    async def _read(self, identity: Identity, messages: AsyncIterator[bytes], context: Context) -> bytes:
        """The message of a call. Aborts the call if the client is slow or has too many calls."""
        if self._calls[identity] >= MAX_CALLS_PER_IDENTITY:
            metrics.DROPPED.labels("identity's calls").inc()
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "identity's calls")
        self._calls[identity] += 1
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                return await anext(messages)
        except (TimeoutError, StopAsyncIteration):
            metrics.DROPPED.labels("too slow").inc()
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, "too slow")
            raise AssertionError("abort raises") from None
        finally:
            self._calls[identity] -= 1
            if not self._calls[identity]:
                del self._calls[identity]

    async def _deny(self, context: Context, reason: str) -> NoReturn:
        metrics.DENIED.inc()
        if self._log_throttle.should_log(context.peer(), reason, time.monotonic()):
            log.warning("telemetry denied", peer=context.peer(), reason=reason)
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, reason)
        raise AssertionError("abort raises")

    async def _process_queue(self) -> None:
        """Process queued messages, one slice at a time."""
        slice_start = time.perf_counter()
        while True:
            message = self.queue.dequeue()
            if message is None:
                self._arrived.clear()
                self._idle.set()
                await self._arrived.wait()
                slice_start = time.perf_counter()
                continue
            metrics.QUEUED.set(self.queue.queued_bytes)
            steps = self._handlers[message.signal](message.identity, message.body, message.received_at)
            while self._step(steps, message.signal):
                if time.perf_counter() - slice_start >= SLICE_SECONDS:
                    await asyncio.sleep(PAUSE_SECONDS)
                    slice_start = time.perf_counter()
            # A message that ends within its slice must not add its last step to the next one's first.
            await asyncio.sleep(0)

    def _step(self, steps: Iterator[None], signal: Signal) -> bool:
        """Run one step; False at the end. A handler that fails affects its own message only."""
        try:
            next(steps)
        except StopIteration:
            return False
        except Exception:
            metrics.DROPPED.labels("failed").inc()
            log.exception("telemetry handler failed", signal=signal)
            return False
        return True
