"""Exports telemetry to an OTLP/gRPC collector in batches, with retries while it is unavailable.

Each signal has its own sender, so that one the collector does not implement does not delay the others.
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
from meshwright.control_plane.telemetry.export import retry
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
"""Seconds until a request times out."""

UNIMPLEMENTED_PAUSE = 60.0
"""Seconds until a signal that the collector does not implement is tried again."""

SHUTDOWN_RETRY_PAUSE = 0.2
"""Seconds between attempts during shutdown."""

PROBLEM_AFTER = 30.0
"""Seconds without success after which the status reports a problem."""

OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.max_receive_message_length", 1024 * 1024),
)

log = structlog.get_logger(__name__)


class OtlpExporter:
    """Exports to one collector. `handle` never waits for it."""

    def __init__(
        self,
        target: ExportTarget,
        signals: Iterable[Signal],
        *,
        roots: bytes | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`roots`: trusted CA certificates as PEM; None for gRPC's defaults."""
        self._target, self._roots = target, roots
        self._queue = ExportQueue(signals, max_bytes)
        self._arrived = {signal: asyncio.Event() for signal in self._queue.signals}
        self._failing: dict[Signal, tuple[float, str]] = {}
        self._unimplemented_until: dict[Signal, float] = {}
        self._channel: grpc.aio.Channel | None = None
        self._senders: list[asyncio.Task[None]] = []
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        """Start the senders."""
        channel = self._channel = _channel(self._target, self._roots)
        self._senders = [
            asyncio.create_task(self._send_batches(signal, channel)) for signal in self._queue.signals
        ]
        log.info("telemetry export started", target=self._target.address, tls=self._target.tls)

    async def stop(self, drain_timeout: float) -> None:
        """Send what is queued for up to `drain_timeout` seconds, and drop the rest."""
        self._stopping.set()
        for arrived in self._arrived.values():
            arrived.set()
        if self._senders:
            await asyncio.wait(self._senders, timeout=drain_timeout)
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close(None)
        dropped = self._queue.drain()
        if dropped:
            self._count_dropped(dropped, "stopped")
            log.warning("telemetry dropped at shutdown", target=self._target.address, dropped=dropped)

    def handle(self, signal: Signal, identity: Identity, body: bytes) -> Iterator[None]:
        """Queue an export that an identity sent; yields after each small step. Never raises."""
        now = time.monotonic()
        for result in split(signal, identity.name, body, now):
            if result is None:
                yield
            elif isinstance(result, Oversized):
                self._count_dropped({signal: result.count}, "oversized")
            elif self._unimplemented_until.get(signal, now) > now:
                self._count_dropped({signal: result.count}, "unimplemented")
            else:
                self._count_dropped(self._queue.put(signal, result), "full")
                metrics.EXPORT_QUEUED.set(self._queue.size_bytes)
                self._arrived[signal].set()

    def problem(self, now: float) -> str:
        """One sentence if the collector has accepted nothing for PROBLEM_AFTER; `now` is time.monotonic().

        It does not change with time: control planes with the same problem report it in the same words.
        """
        for signal, (since, reason) in sorted(self._failing.items()):
            if now - since >= PROBLEM_AFTER:
                duration = f"over {PROBLEM_AFTER:.0f} s"
                return f"{signal} could not be exported to {self._target.address} for {duration}: {reason}"
        return ""

    # --- sending ----------------------------------------------------------------------------------------

    async def _send_batches(self, signal: Signal, channel: grpc.aio.Channel) -> None:
        """Send a signal's batches one after another, until the exporter stops and the queue is empty."""
        export = channel.unary_unary(f"/{SERVICES[signal]}/Export", None, None)
        failures = 0
        while await self._wait_until_due(signal):
            batch = self._queue.take_batch(signal)
            if batch is None:
                continue
            try:
                response: bytes = await export(
                    batch.body, timeout=REQUEST_TIMEOUT, metadata=self._target.headers
                )
                self._record_success(batch, response)
                failures = 0
            except grpc.aio.AioRpcError as error:
                server_delay = _server_delay(error)
                self._record_failure(signal, error)
                if not retry.is_retryable(error.code().name, server_delay):
                    self._drop_refused(batch, error)
                    continue
                self._put_back(batch)
                failures += 1
                metrics.EXPORT_RETRIES.labels(signal).inc()
                jitter = random.random()  # noqa: S311  spreads retries, guards nothing
                await self._pause(
                    retry.retry_delay(failures, jitter) if server_delay is None else server_delay
                )
            except asyncio.CancelledError:
                self._put_back(batch)
                raise

    async def _pause(self, seconds: float) -> None:
        """Wait before a retry; only briefly during shutdown."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
                await asyncio.sleep(SHUTDOWN_RETRY_PAUSE)

    async def _wait_until_due(self, signal: Signal) -> bool:
        """Wait until there is a batch to send; False during shutdown if there is nothing left."""
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

    def _record_success(self, batch: Batch, response: bytes) -> None:
        if self._failing.pop(batch.signal, None):
            log.info("telemetry export recovered", target=self._target.address, signal=batch.signal)
        partial = retry.partial_success(batch.signal, response)
        rejected = min(max(partial.rejected, 0), batch.count)
        metrics.EXPORTED.labels(batch.signal).inc(batch.count - rejected)
        self._count_dropped({batch.signal: rejected}, "rejected")
        metrics.EXPORT_QUEUED.set(self._queue.size_bytes)
        if rejected:
            log.warning(
                "collector rejected telemetry", signal=batch.signal, count=rejected, reason=partial.message
            )

    def _record_failure(self, signal: Signal, error: grpc.aio.AioRpcError) -> None:
        reason = f"{error.code().name}: {error.details()}"
        if signal not in self._failing and signal not in self._unimplemented_until:
            log.warning("telemetry export failed", target=self._target.address, signal=signal, reason=reason)
        self._failing[signal] = (self._failing.get(signal, (time.monotonic(), ""))[0], reason)

    def _drop_refused(self, batch: Batch, error: grpc.aio.AioRpcError) -> None:
        """Drop a batch after a failure that must not be retried."""
        is_unimplemented = error.code() is grpc.StatusCode.UNIMPLEMENTED
        if is_unimplemented:
            self._failing.pop(batch.signal, None)
            self._unimplemented_until[batch.signal] = time.monotonic() + UNIMPLEMENTED_PAUSE
        self._count_dropped({batch.signal: batch.count}, "unimplemented" if is_unimplemented else "refused")

    def _put_back(self, batch: Batch) -> None:
        self._count_dropped(self._queue.put_back(batch), "full")
        metrics.EXPORT_QUEUED.set(self._queue.size_bytes)

    def _count_dropped(self, dropped: DroppedCounts, reason: str) -> None:
        for signal, count in dropped.items():
            if count:
                metrics.EXPORT_DROPPED.labels(signal, reason).inc(count)


def create_exporter(settings: Settings, signals: Iterable[Signal]) -> OtlpExporter | None:
    """The exporter of the settings; None if they name no collector. Raises InputError."""
    if not settings.otlp_forward:
        return None
    target = parse_target(settings.otlp_forward)
    file = settings.otlp_forward_headers_file
    if file and not target.private:
        raise InputError(f"{HEADERS_SETTING}: {target.address} would receive them unencrypted: use https://")
    if file:
        text = _read(HEADERS_SETTING, file).decode("utf-8", "replace")
        target = replace(target, headers=parse_headers(text))
    return OtlpExporter(target, signals, roots=_roots(settings.otlp_forward_ca))


def _roots(file: str) -> bytes | None:
    if not file:
        return None
    roots = _read("MESH_OTLP_FORWARD_CA", file)
    if b"-----BEGIN CERTIFICATE-----" not in roots:
        raise InputError(f"MESH_OTLP_FORWARD_CA: {file} holds no certificate: use a PEM file")
    return roots


def _read(setting: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise InputError(f"{setting}: {file}: {error.strerror}") from None


def _channel(target: ExportTarget, roots: bytes | None) -> grpc.aio.Channel:
    if not target.tls:
        return grpc.aio.insecure_channel(target.address, (*OPTIONS, ("grpc.enable_http_proxy", 0)))
    return grpc.aio.secure_channel(target.address, grpc.ssl_channel_credentials(roots), OPTIONS)


def _server_delay(error: grpc.aio.AioRpcError) -> float | None:
    for name, value in cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()):
        if name == "grpc-status-details-bin":
            return retry.server_delay(value if isinstance(value, bytes) else value.encode("latin-1"))
    return None
