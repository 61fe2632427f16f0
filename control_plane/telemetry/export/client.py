"""Passes on to a collector what was taken in, by OTLP/gRPC: in batches, tried again while it is away.

Each signal has a sender of its own, so that one that the collector does not take holds up no other.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import grpc
import structlog

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.config import Settings
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.telemetry import metrics
from meshwright.control_plane.telemetry.export import retry as retry_module
from meshwright.control_plane.telemetry.export.queue import MAX_BYTES, Batch, DroppedCounts, ExportQueue
from meshwright.control_plane.telemetry.export.split import Oversized, split
from meshwright.control_plane.telemetry.export.target import (
    HEADERS_SETTING,
    ExportTarget,
    parse_headers,
    parse_target,
)
from meshwright.control_plane.telemetry.ingest.queue import Signal
from meshwright.control_plane.telemetry.ingest.server import SERVICES

REQUEST_TIMEOUT = 10.0
"""Seconds that one request may take."""

UNIMPLEMENTED_PAUSE = 60.0
"""Seconds until a signal that the collector does not know is tried again."""

SHUTDOWN_RETRY_PAUSE = 0.2
"""Seconds until the next try once the end has come."""

PROBLEM_AFTER = 30.0
"""Seconds without success after which this is a problem of the mesh."""

OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.max_receive_message_length", 1024 * 1024),
)

log = structlog.get_logger(__name__)


class OtlpExporter:
    """The way to one collector. Taking something in never waits for it."""

    def __init__(
        self,
        target: ExportTarget,
        signals: Iterable[Signal],
        *,
        roots: bytes | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`roots`: PEM of who may certify the collector; None: those that gRPC knows."""
        self._target, self._roots = target, roots
        self._queue = ExportQueue(signals, max_bytes)
        self._arrived = {one: asyncio.Event() for one in self._queue.signals}
        self._failing: dict[Signal, tuple[float, str]] = {}
        self._unimplemented_until: dict[Signal, float] = {}
        self._channel: grpc.aio.Channel | None = None
        self._senders: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Begin to send."""
        channel = self._channel = _channel(self._target, self._roots)
        self._senders = [asyncio.create_task(self._send_batches(one, channel)) for one in self._queue.signals]
        log.info("telemetry is forwarded", to=self._target.address, tls=self._target.tls)

    async def stop(self, drain_timeout: float) -> None:
        """Send what waits, for so many seconds at most; what is left then is let go."""
        self._stopping.set()
        for each in self._arrived.values():
            each.set()
        if self._senders:
            await asyncio.wait(self._senders, timeout=drain_timeout)
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close(None)
        left = self._queue.drain()
        if left:
            self._count_dropped(left, "stopped")
            log.warning("telemetry was not forwarded before the end", to=self._target.address, left=left)

    def handle(self, signal: Signal, identity: Identity, body: bytes) -> Iterator[None]:
        """Take what an identity sent; yields after each small slice of work, and raises nothing."""
        now = time.monotonic()
        for found in split(signal, identity.name, body, now):
            if found is None:
                yield
            elif isinstance(found, Oversized):
                self._count_dropped({signal: found.count}, "oversized")
            elif self._unimplemented_until.get(signal, now) > now:
                self._count_dropped({signal: found.count}, "unimplemented")
            else:
                self._count_dropped(self._queue.put(signal, found), "full")
                metrics.EXPORT_QUEUED.set(self._queue.size_bytes)
                self._arrived[signal].set()

    def problem(self, now: float) -> str:
        """In words, when the collector has taken nothing for long; else empty. `now`: time.monotonic()."""
        for signal, (since, why) in sorted(self._failing.items()):
            if now - since >= PROBLEM_AFTER:
                away = f"{now - since:.0f} s"
                return f"{signal} could not be forwarded to {self._target.address} for {away}: {why}"
        return ""

    # --- sending ----------------------------------------------------------------------------------------

    async def _send_batches(self, signal: Signal, channel: grpc.aio.Channel) -> None:
        """Send a signal's batches, one after the other; returns when all is sent and the end has come."""
        export = channel.unary_unary(f"/{SERVICES[signal]}/Export", None, None)
        failures = 0
        while await self._wait_until_due(signal):
            batch = self._queue.take_batch(signal)
            if batch is None:
                continue
            told: float | None = None
            try:
                reply: bytes = await export(
                    batch.body, timeout=REQUEST_TIMEOUT, metadata=self._target.headers
                )
                self._record_success(batch, reply)
                failures = 0
            except grpc.aio.AioRpcError as error:
                told = _server_delay(error)
                retry = retry_module.is_retryable(error.code().name, told)
                self._record_failure(signal, error)
                if not retry:
                    self._drop_refused(batch, error)
                    continue
                self._put_back(batch)
                failures += 1
                metrics.EXPORT_RETRIES.labels(signal).inc()
                chance = random.random()  # noqa: S311  spreads retries, guards nothing
                await self._pause(retry_module.retry_delay(failures, chance) if told is None else told)
            except asyncio.CancelledError:
                self._put_back(batch)
                raise

    async def _pause(self, seconds: float) -> None:
        """Wait; not so long when the end has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
                await asyncio.sleep(SHUTDOWN_RETRY_PAUSE)

    async def _wait_until_due(self, signal: Signal) -> bool:
        """Wait until there is a batch to send; False when there is nothing and the end has come."""
        arrived = self._arrived[signal]
        while True:
            due = self._queue.next_due(signal)
            if self._stopping.is_set():
                return due is not None
            if due is not None and due <= time.monotonic():
                return True
            arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else due - time.monotonic()):
                    await arrived.wait()

    def _record_success(self, batch: Batch, reply: bytes) -> None:
        if self._failing.pop(batch.signal, None):
            log.info("telemetry is taken again", to=self._target.address, signal=batch.signal)
        rejected = retry_module.partial_success(batch.signal, reply)
        lost = min(max(rejected.rejected, 0), batch.count)
        metrics.EXPORTED.labels(batch.signal).inc(batch.count - lost)
        self._count_dropped({batch.signal: lost}, "rejected")
        metrics.EXPORT_QUEUED.set(self._queue.size_bytes)
        if lost:
            log.warning(
                "a collector left out telemetry", signal=batch.signal, count=lost, why=rejected.message
            )

    def _record_failure(self, signal: Signal, error: grpc.aio.AioRpcError) -> None:
        why = f"{error.code().name}: {error.details()}"
        if signal not in self._failing and signal not in self._unimplemented_until:
            log.warning("telemetry cannot be forwarded", to=self._target.address, signal=signal, why=why)
        self._failing[signal] = (self._failing.get(signal, (time.monotonic(), ""))[0], why)

    def _drop_refused(self, batch: Batch, error: grpc.aio.AioRpcError) -> None:
        """A failure for good: nothing is sent twice."""
        unknown = error.code() is grpc.StatusCode.UNIMPLEMENTED
        if unknown:
            self._failing.pop(batch.signal, None)
            self._unimplemented_until[batch.signal] = time.monotonic() + UNIMPLEMENTED_PAUSE
        self._count_dropped({batch.signal: batch.count}, "unimplemented" if unknown else "refused")

    def _put_back(self, batch: Batch) -> None:
        self._count_dropped(self._queue.put_back(batch), "full")
        metrics.EXPORT_QUEUED.set(self._queue.size_bytes)

    def _count_dropped(self, left: DroppedCounts, reason: str) -> None:
        for signal, count in left.items():
            if count:
                metrics.EXPORT_DROPPED.labels(signal, reason).inc(count)


def create_exporter(settings: Settings, signals: Iterable[Signal]) -> OtlpExporter | None:
    """The way that the settings tell; None for none. Raises InputError."""
    if not settings.otlp_forward:
        return None
    to = parse_target(settings.otlp_forward)
    file = settings.otlp_forward_headers_file
    if file and not to.private:
        raise InputError(f"{HEADERS_SETTING}: {to.address} would get them unencrypted: name it by https://")
    if file:
        to = replace(to, headers=parse_headers(_read(HEADERS_SETTING, file).decode("utf-8", "replace")))
    return OtlpExporter(to, signals, roots=_roots(settings.otlp_forward_ca))


def _roots(file: str) -> bytes | None:
    if not file:
        return None
    roots = _read("MESH_OTLP_FORWARD_CA", file)
    if b"-----BEGIN CERTIFICATE-----" not in roots:
        raise InputError(f"MESH_OTLP_FORWARD_CA: {file} holds no certificate: give a PEM file")
    return roots


def _read(setting: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{setting}: {file}: {error.strerror}") from None


def _channel(to: ExportTarget, roots: bytes | None) -> grpc.aio.Channel:
    if not to.tls:
        return grpc.aio.insecure_channel(to.address, (*OPTIONS, ("grpc.enable_http_proxy", 0)))
    return grpc.aio.secure_channel(to.address, grpc.ssl_channel_credentials(roots), OPTIONS)


def _server_delay(error: grpc.aio.AioRpcError) -> float | None:
    for name, value in cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()):
        if name == "grpc-status-details-bin":
            return retry_module.server_delay(value if isinstance(value, bytes) else value.encode("latin-1"))
    return None
