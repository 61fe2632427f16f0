"""The control plane's background loops. Each one runs until cancelled and survives an unavailable store."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import Awaitable, Callable, Collection

import structlog

from meshwright.control_plane.ca.authority import CertificateAuthority
from meshwright.control_plane.ca.join_tokens import JoinTokens
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.metrics import GENERATION, LAG
from meshwright.control_plane.reconciler import DEBOUNCE, ConfigReconciler
from meshwright.control_plane.store.last_revision import LastRevisionFile
from meshwright.control_plane.store.leases import InstanceKey
from meshwright.control_plane.store.silent_leases import WhichWork
from meshwright.control_plane.store.store import Store

LEASE_SWEEP_INTERVAL = 0.5
"""Seconds: short compared with a lease, and no load for the store."""

LAG_SAMPLE_INTERVAL = 0.25
"""Seconds between two samples of the event loop's lag."""

DAMAGED_INTERVAL = 2.0
"""Seconds until a store with unreadable values is read again: a repair announces no change."""

STORE_RETRY_DELAY = 0.5
"""Seconds until a failed read of the store is repeated."""

TOKEN_USE_FLUSH_INTERVAL = 1.0
"""Seconds between two writes of the uses of join tokens."""

CERTIFICATE_CHECK_INTERVAL = 5.0
"""Seconds between two checks whether the control plane's own certificate was renewed."""

GC_THRESHOLDS = (2_000, 5, 100_000)
"""Streams and snapshots are long-lived; with the default thresholds the collector visits them for nothing
(measured: half of the CPU). A collection of young objects stops all work, so it is kept short: about a tenth
of a millisecond per thousand objects.
"""

log = structlog.get_logger(__name__)


class StoreChanges:
    """What changed in the store since the loops below last looked."""

    def __init__(self) -> None:
        self.config = asyncio.Event()
        self.tokens = asyncio.Event()
        self.evictions = asyncio.Event()

    async def watch(self, store: Store) -> None:
        """Set the events as the store reports changes."""
        async for kinds in store.changes():
            if kinds & {"revision", "instances"}:
                self.config.set()
            if "tokens" in kinds:
                self.tokens.set()
            if "evictions" in kinds:
                self.evictions.set()


async def reconcile(
    store: Store, reconciler: ConfigReconciler, last_revision: LastRevisionFile, changed: asyncio.Event
) -> None:
    """Publish what the store holds, and again after every change."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), DAMAGED_INTERVAL if store.is_damaged else None)
        changed.clear()
        try:
            await _reconcile_once(store, reconciler, last_revision)
        except StoreError:
            changed.set()
            await asyncio.sleep(STORE_RETRY_DELAY)
        else:
            await asyncio.sleep(DEBOUNCE)


async def _reconcile_once(
    store: Store, reconciler: ConfigReconciler, last_revision: LastRevisionFile
) -> None:
    is_first = reconciler.translation is None
    stored = await store.snapshot()
    with GENERATION.time():
        build = await asyncio.to_thread(reconciler.build, stored)
    if build is None:
        log.error("translation failed", problems=reconciler.problems())
        return
    reconciler.publish(build)
    await asyncio.to_thread(last_revision.save, stored.revision.number)
    if is_first:
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        log.info("serving", revision=stored.revision.number, services=len(stored.services))


async def follow_join_tokens(join_tokens: JoinTokens, changed: asyncio.Event) -> None:
    """Keep the revoked tokens up to date, and write the uses of tokens to the store."""
    while True:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(changed.wait(), TOKEN_USE_FLUSH_INTERVAL)
        try:
            if changed.is_set():
                changed.clear()
                await join_tokens.refresh_revocations()
            await join_tokens.flush_uses()
        except StoreError:
            changed.set()
            await asyncio.sleep(STORE_RETRY_DELAY)


async def follow_evictions(refresh: Callable[[], Awaitable[None]], changed: asyncio.Event) -> None:
    """Apply evictions as the store reports them."""
    while True:
        await changed.wait()
        changed.clear()
        try:
            await refresh()
        except StoreError:
            changed.set()
            await asyncio.sleep(STORE_RETRY_DELAY)


async def expire_leases(
    store: Store,
    which_work: WhichWork,
    on_expired: Callable[[Collection[InstanceKey]], None],
    on_silent: Callable[[Collection[InstanceKey]], None],
) -> None:
    """Remove instances whose lease was not renewed, unless they work without their agent."""
    while True:
        await asyncio.sleep(LEASE_SWEEP_INTERVAL)
        try:
            asked_until = await store.silent_leases.keep(which_work)
            on_silent(store.silent_leases.since.keys())
            instances = await store.leases.sweep(asked_until)
        except StoreError:
            continue
        if instances:
            log.warning("leases expired", instances=[str(key) for key in instances])
            on_expired(instances)


async def watch_certificate(authority: CertificateAuthority, on_renewed: Callable[[], None]) -> None:
    """Call `on_renewed` whenever the authority has renewed the control plane's own certificate."""
    certificate = authority.server_certificate()
    while True:
        await asyncio.sleep(CERTIFICATE_CHECK_INTERVAL)
        if authority.server_certificate() is not certificate:
            certificate = authority.server_certificate()
            on_renewed()
            log.info("certificate renewed")


async def measure_lag() -> None:
    """Record how late the event loop runs its timers."""
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        await asyncio.sleep(LAG_SAMPLE_INTERVAL)
        LAG.observe(max(0.0, loop.time() - started - LAG_SAMPLE_INTERVAL))
