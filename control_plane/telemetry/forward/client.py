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

from control_plane.api.spiffe import Identity
from control_plane.config import Settings
from control_plane.errors import InputError
from control_plane.telemetry import metrics
from control_plane.telemetry.forward import answer
from control_plane.telemetry.forward.outbox import LIMIT, Batch, Left, Outbox
from control_plane.telemetry.forward.pieces import Oversized, pieces
from control_plane.telemetry.forward.target import HEADERS_SETTING, Target, headers, target
from control_plane.telemetry.intake import Signal
from control_plane.telemetry.server import SERVICES

DEADLINE = 10.0
"""Seconds that one request may take."""

UNTAKEN = 60.0
"""Seconds until a signal that the collector does not know is tried again."""

ENDING_PAUSE = 0.2
"""Seconds until the next try once the end has come."""

AWAY = 30.0
"""Seconds without success after which this is a problem of the mesh."""

OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.max_receive_message_length", 1024 * 1024),
)

log = structlog.get_logger(__name__)


class Forward:
    """The way to one collector. Taking something in never waits for it."""

    def __init__(
        self, to: Target, signals: Iterable[Signal], *, roots: bytes | None = None, limit: int = LIMIT
    ) -> None:
        """`roots`: PEM of who may certify the collector; None: those that gRPC knows."""
        self._to, self._roots = to, roots
        self._outbox = Outbox(signals, limit)
        self._arrived = {one: asyncio.Event() for one in self._outbox.signals}
        self._failing: dict[Signal, tuple[float, str]] = {}
        self._untaken: dict[Signal, float] = {}
        self._channel: grpc.aio.Channel | None = None
        self._senders: list[asyncio.Task[None]] = []
        self._ending = asyncio.Event()

    async def start(self) -> None:
        """Begin to send."""
        channel = self._channel = _channel(self._to, self._roots)
        self._senders = [asyncio.create_task(self._send(one, channel)) for one in self._outbox.signals]
        log.info("telemetry is forwarded", to=self._to.address, tls=self._to.tls)

    async def stop(self, within: float) -> None:
        """Send what waits, for so many seconds at most; what is left then is let go."""
        self._ending.set()
        for each in self._arrived.values():
            each.set()
        if self._senders:
            await asyncio.wait(self._senders, timeout=within)
        for sender in self._senders:
            sender.cancel()
        await asyncio.gather(*self._senders, return_exceptions=True)
        if self._channel is not None:
            await self._channel.close(None)
        left = self._outbox.clear()
        if left:
            self._leave(left, "stopped")
            log.warning("telemetry was not forwarded before the end", to=self._to.address, left=left)

    def take(self, signal: Signal, identity: Identity, body: bytes) -> Iterator[None]:
        """Take what an identity sent; yields after each small slice of work, and raises nothing."""
        now = time.monotonic()
        for found in pieces(signal, identity.name, body, now):
            if found is None:
                yield
            elif isinstance(found, Oversized):
                self._leave({signal: found.count}, "oversized")
            elif self._untaken.get(signal, now) > now:
                self._leave({signal: found.count}, "unimplemented")
            else:
                self._leave(self._outbox.put(signal, found), "full")
                metrics.FORWARD_QUEUED.set(self._outbox.size)
                self._arrived[signal].set()

    def problem(self, now: float) -> str:
        """In words, when the collector has taken nothing for long; else empty. `now`: time.monotonic()."""
        for signal, (since, why) in sorted(self._failing.items()):
            if now - since >= AWAY:
                away = f"{now - since:.0f} s"
                return f"{signal} could not be forwarded to {self._to.address} for {away}: {why}"
        return ""

    # --- sending ----------------------------------------------------------------------------------------

    async def _send(self, signal: Signal, channel: grpc.aio.Channel) -> None:
        """Send a signal's batches, one after the other; returns when all is sent and the end has come."""
        export = channel.unary_unary(f"/{SERVICES[signal]}/Export", None, None)
        failures = 0
        while await self._until_due(signal):
            batch = self._outbox.take(signal)
            if batch is None:
                continue
            told: float | None = None
            try:
                reply: bytes = await export(batch.body, timeout=DEADLINE, metadata=self._to.headers)
                self._took(batch, reply)
                failures = 0
            except grpc.aio.AioRpcError as error:
                told = _told_delay(error)
                retry = answer.is_retryable(error.code().name, told)
                self._failed(signal, error)
                if not retry:
                    self._refused(batch, error)
                    continue
                self._put_back(batch)
                failures += 1
                metrics.FORWARD_RETRIES.labels(signal).inc()
                chance = random.random()  # noqa: S311  spreads retries, guards nothing
                await self._pause(answer.delay(failures, chance) if told is None else told)
            except asyncio.CancelledError:
                self._put_back(batch)
                raise

    async def _pause(self, seconds: float) -> None:
        """Wait; not so long when the end has come."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ending.wait()
                await asyncio.sleep(ENDING_PAUSE)

    async def _until_due(self, signal: Signal) -> bool:
        """Wait until there is a batch to send; False when there is nothing and the end has come."""
        arrived = self._arrived[signal]
        while True:
            due = self._outbox.due(signal)
            if self._ending.is_set():
                return due is not None
            if due is not None and due <= time.monotonic():
                return True
            arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(None if due is None else due - time.monotonic()):
                    await arrived.wait()

    def _took(self, batch: Batch, reply: bytes) -> None:
        if self._failing.pop(batch.signal, None):
            log.info("telemetry is taken again", to=self._to.address, signal=batch.signal)
        rejected = answer.rejected(batch.signal, reply)
        lost = min(max(rejected.lost, 0), batch.count)
        metrics.FORWARDED.labels(batch.signal).inc(batch.count - lost)
        self._leave({batch.signal: lost}, "rejected")
        metrics.FORWARD_QUEUED.set(self._outbox.size)
        if lost:
            log.warning("a collector left out telemetry", signal=batch.signal, count=lost, why=rejected.why)

    def _failed(self, signal: Signal, error: grpc.aio.AioRpcError) -> None:
        why = f"{error.code().name}: {error.details()}"
        if signal not in self._failing and signal not in self._untaken:
            log.warning("telemetry cannot be forwarded", to=self._to.address, signal=signal, why=why)
        self._failing[signal] = (self._failing.get(signal, (time.monotonic(), ""))[0], why)

    def _refused(self, batch: Batch, error: grpc.aio.AioRpcError) -> None:
        """A failure for good: nothing is sent twice."""
        unknown = error.code() is grpc.StatusCode.UNIMPLEMENTED
        if unknown:
            self._failing.pop(batch.signal, None)
            self._untaken[batch.signal] = time.monotonic() + UNTAKEN
        self._leave({batch.signal: batch.count}, "unimplemented" if unknown else "refused")

    def _put_back(self, batch: Batch) -> None:
        self._leave(self._outbox.back(batch), "full")
        metrics.FORWARD_QUEUED.set(self._outbox.size)

    def _leave(self, left: Left, reason: str) -> None:
        for signal, count in left.items():
            if count:
                metrics.FORWARD_DROPPED.labels(signal, reason).inc(count)


def forward(settings: Settings, signals: Iterable[Signal]) -> Forward | None:
    """The way that the settings tell; None for none. Raises InputError."""
    if not settings.otlp_forward:
        return None
    to = target(settings.otlp_forward)
    file = settings.otlp_forward_headers_file
    if file and not to.private:
        raise InputError(f"{HEADERS_SETTING}: {to.address} would get them unencrypted: name it by https://")
    if file:
        to = replace(to, headers=headers(_read(HEADERS_SETTING, file).decode("utf-8", "replace")))
    return Forward(to, signals, roots=_roots(settings.otlp_forward_ca))


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


def _channel(to: Target, roots: bytes | None) -> grpc.aio.Channel:
    if not to.tls:
        return grpc.aio.insecure_channel(to.address, (*OPTIONS, ("grpc.enable_http_proxy", 0)))
    return grpc.aio.secure_channel(to.address, grpc.ssl_channel_credentials(roots), OPTIONS)


def _told_delay(error: grpc.aio.AioRpcError) -> float | None:
    for name, value in cast("Iterable[tuple[str, str | bytes]]", error.trailing_metadata() or ()):
        if name == "grpc-status-details-bin":
            return answer.told_delay(value if isinstance(value, bytes) else value.encode("latin-1"))
    return None
