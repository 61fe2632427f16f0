"""The OTLP port: metrics, spans and logs over gRPC under mutual TLS, queued, and folded in small slices.

Who tells something is who its certificate says. Folding never holds up the event loop for long, for xDS
shares it.
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

from meshwright.control_plane.api.peer import identity_from_auth_context
from meshwright.control_plane.api.spiffe import Identity
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
"""Seconds that folding may take before others have their turn."""

PAUSE_SECONDS = 0.001
"""Seconds that others have between two slices: folding takes half of the processor at most."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_concurrent_streams", 100),
    # Twice what is taken, so that what is somewhat too large is counted as such.
    ("grpc.max_receive_message_length", 2 * MAX_MESSAGE_BYTES),
    ("grpc.server_handshake_timeout_ms", 10_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
)

MAX_CONCURRENT_CALLS = 256
"""Calls that are read at once: with the limit on messages, what a flood can hold in memory."""

MAX_CALLS_PER_IDENTITY = 64
"""Calls of one identity that are read at once: who opens calls and sends nothing leaves room for others."""

READ_TIMEOUT = 5.0
"""Seconds that a message may take to come."""

log = structlog.get_logger(__name__)

Context = grpc.aio.ServicerContext[bytes, bytes]
SignalHandler = Callable[[Identity, bytes, float], Iterator[None]]
"""A fold: a message of an identity, when it came; yields after each small slice of work."""


class OtlpServer:
    """The server. `folds` take what comes, by signal; a signal without a fold is refused."""

    def __init__(
        self,
        bind: str,
        port: int,
        trust_domain: str,
        credentials: TlsCredentials,
        handlers: Mapping[Signal, SignalHandler],
        *,
        connection_age: float = 3600.0,
    ) -> None:
        self._address = listen_address(bind, port)
        self._trust_domain = trust_domain
        self._certificates = ReloadableCertificates(credentials)
        self._handlers = dict(handlers)
        self._connection_age = connection_age
        self._refusals = LogThrottle()
        self.queue = FairQueue()
        self._arrived = asyncio.Event()
        self._idle = asyncio.Event()
        self._calls: Counter[Identity] = Counter()
        self._server: grpc.aio.Server | None = None
        self._worker: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; returns the port. Raises RuntimeError when the port is taken."""
        ages = (
            ("grpc.max_connection_age_ms", int(self._connection_age * 1000)),
            ("grpc.max_connection_age_grace_ms", 1000),
        )
        self._server = grpc.aio.server(
            options=[*OPTIONS, *ages], maximum_concurrent_rpcs=MAX_CONCURRENT_CALLS
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
        """Close the port; what waits is folded for so many seconds at most, and then let go."""
        if self._server is not None:
            await self._server.stop(None)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_timeout):
                await self._idle.wait()
        if self._worker is not None:
            self._worker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._worker

    def update_credentials(self, credentials: TlsCredentials) -> None:
        """Use another certificate (or other roots) for connections from now on; open ones go on."""
        self._certificates.replace(credentials)

    def _method(self, signal: Signal) -> grpc.RpcMethodHandler[bytes, bytes]:
        async def export(messages: AsyncIterator[bytes], context: Context) -> bytes:
            try:
                identity = identity_from_auth_context(context.auth_context() or {}, self._trust_domain)
                if identity.role == "control-plane":
                    raise PermissionDeniedError(f"{identity.uri} is nobody's sidecar")
            except PermissionDeniedError as error:
                await self._refuse(context, str(error))
            body = await self._read(identity, messages, context)
            metrics.RECEIVED.labels(signal).inc()
            offer = self.queue.enqueue(QueuedMessage(signal, identity, body, time.monotonic()))
            for reason in offer.dropped:
                metrics.DROPPED.labels(reason).inc()
            if not offer.accepted:
                await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, offer.dropped[0])
            metrics.QUEUED.set(self.queue.queued_bytes)
            self._idle.clear()
            self._arrived.set()
            # An empty message of either service says that all was taken.
            return b""

        # As a stream of one message, for only a stream is read by the handler, who has not all time.
        return cast("grpc.RpcMethodHandler[bytes, bytes]", grpc.stream_unary_rpc_method_handler(export))

    async def _read(self, identity: Identity, messages: AsyncIterator[bytes], context: Context) -> bytes:
        """The one message of a call; who is slow, or calls too often at once, is sent away."""
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

    async def _refuse(self, context: Context, reason: str) -> NoReturn:
        metrics.REFUSED.inc()
        if self._refusals.should_log(context.peer(), reason, time.monotonic()):
            log.warning("telemetry refused", peer=context.peer(), reason=reason)
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, reason)
        raise AssertionError("abort raises")

    async def _process_queue(self) -> None:
        """Fold what waits, a slice at a time."""
        begun = time.perf_counter()
        while True:
            waiting = self.queue.dequeue()
            if waiting is None:
                self._arrived.clear()
                self._idle.set()
                await self._arrived.wait()
                begun = time.perf_counter()
                continue
            metrics.QUEUED.set(self.queue.queued_bytes)
            steps = self._handlers[waiting.signal](waiting.identity, waiting.body, waiting.received_at)
            while self._step(steps, waiting.signal):
                if time.perf_counter() - begun >= SLICE_SECONDS:
                    await asyncio.sleep(PAUSE_SECONDS)
                    begun = time.perf_counter()

    def _step(self, steps: Iterator[None], signal: Signal) -> bool:
        """One slice of a fold; whether there is more. A fold that fails takes nothing else with it."""
        try:
            next(steps)
        except StopIteration:
            return False
        except Exception:
            metrics.DROPPED.labels("failed").inc()
            log.exception("telemetry could not be folded", signal=signal)
            return False
        return True
