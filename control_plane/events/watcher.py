"""Notices what happens to the mesh once a second, and writes it to the store as events.

Nothing that serves sidecars waits for it: events that other parts report are queued and written from here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Collection, Iterable

import structlog

from meshwright.control_plane.api.models.events import MESSAGE_LIMIT, Event, EventKind, Severity
from meshwright.control_plane.api.models.push import Withdrawal
from meshwright.control_plane.api.models.status import ControlPlaneAbsence
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import Eviction
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.events.detector import ChangeDetector
from meshwright.control_plane.events.rate_limit import EventRateLimiter
from meshwright.control_plane.events.refusals import RefusalEvents
from meshwright.control_plane.events.state import MeshState
from meshwright.control_plane.events.write_queue import EventWriteQueue
from meshwright.control_plane.store.events import EventEntry
from meshwright.control_plane.store.leases import InstanceKey
from meshwright.control_plane.store.store import Store
from meshwright.control_plane.telemetry.requests.refusals import Refusal

POLL_INTERVAL = 1.0
"""Seconds: as often as sidecars report."""

MIN_PAUSE = 0.1
"""Seconds between two polls that take long."""

MAX_REVISIONS = 100
"""New revisions that become events at once, after a time in which the store was unavailable."""

MAX_REASON_CHARS = 300

log = structlog.get_logger(__name__)


class EventWatcher:
    """Watches one mesh. `capture` returns its current state, `take_refusals` what was refused since.

    Both are called once a second.
    """

    def __init__(
        self,
        store: Store,
        capture: Callable[[], MeshState],
        take_refusals: Callable[[], Iterable[Refusal]] = tuple,
    ) -> None:
        self._store = store
        self._capture = capture
        self._take_refusals = take_refusals
        self._refusals = RefusalEvents()
        self._detector = ChangeDetector()
        self._queue = EventWriteQueue()
        self._rate_limiter = EventRateLimiter()
        self._writer_id = secrets.token_hex(8)
        self._revision: int | None = None
        self._store_health = store.health
        self._silent: frozenset[InstanceKey] = frozenset()

    async def run(self) -> None:
        """Detect and write events until cancelled."""
        while True:
            started = time.monotonic()
            try:
                await self._poll()
            except StoreError:
                pass
            except Exception:
                log.exception("detecting events failed")
            await asyncio.sleep(max(MIN_PAUSE, POLL_INTERVAL - (time.monotonic() - started)))

    # --- reported by other parts ------------------------------------------------------------------------

    def leases_expired(self, instances: Collection[InstanceKey]) -> None:
        """Instances did not renew their leases."""
        for service, name in instances:
            message = f"{service} lost {name}: its lease expired"
            self._report("lease", name, message, "warning", owner=service)
        self._detector.lost(instances)

    def agents_silent(self, instances: Collection[InstanceKey]) -> None:
        """The instances that work although their agents renew no lease at present."""
        for service, name in sorted(set(instances) - self._silent):
            message = f"the agent of {name} of {service} is silent: its lease is kept, as its Envoy works"
            self._report(
                "lease", name, message, "warning", owner=service, key=f"lease/{service}/{name}/silent"
            )
        for service, name in sorted(self._silent - set(instances)):
            if not self._detector.is_lost((service, name)):
                message = f"the agent of {name} of {service} is back"
                self._report("lease", name, message, owner=service, key=f"lease/{service}/{name}/back")
        self._silent = frozenset(instances)

    def certificate_issued(self, identity: Identity, *, renewed: bool) -> None:
        """A workload got its first certificate, or a new one."""
        message = "certificate renewed" if renewed else "certificate issued: enrolled with a join token"
        self._report("svid", identity.uri, message, owner=identity.uri)

    def enrolment_refused(self, peer: str, reason: str) -> None:
        """A client was refused a certificate."""
        message = f"enrolment refused: {reason}"[:MAX_REASON_CHARS]
        self._report("enrolment", peer, message, "warning", owner=peer)

    def manual_change(self, proxy: str, change: str) -> None:
        """Somebody changed a setting of a sidecar that no policy controls."""
        self._report("sidecar", proxy, change[:MAX_REASON_CHARS])

    def proxy_evicted(self, eviction: Eviction) -> None:
        """Somebody took a proxy out of the mesh."""
        why = f": {eviction.message}" if eviction.message else ""
        event = Event(
            time=eviction.time,
            kind="sidecar",
            subject=eviction.proxy,
            message=f"evicted{why}"[:MAX_REASON_CHARS],
            severity="warning",
            author=eviction.author,
        )
        self._queue.put((EventEntry(event),))

    def revision_withdrawn(self, withdrawal: Withdrawal, author: str) -> None:
        """A revision on trial did harm, or somebody aborted its push."""
        reached = f"it had reached {len(withdrawal.admitted)} of {withdrawal.affected} proxies"
        restored = f"revision {withdrawal.restored} restores {withdrawal.stable}"
        message = f"withdrawn: {withdrawal.reason}; {reached}; {restored}"
        event = Event(
            time=time.time(),
            kind="revision",
            subject=f"revision {withdrawal.revision}",
            message=message[:MESSAGE_LIMIT],
            severity="error",
            author=author,
        )
        self._queue.put((EventEntry(event),))

    def control_plane_back(self, address: str, absence: ControlPlaneAbsence) -> None:
        """A control plane did not run for a while; nothing could be recorded meanwhile."""
        since = time.strftime("%H:%M:%S", time.gmtime(absence.since))
        message = (
            f"the control plane was away for {absence.until - absence.since:.0f} s, from {since} UTC: "
            "sidecars went on with what they had"
        )
        self._report("outage", address, message, "warning")

    def _report(
        self,
        kind: EventKind,
        subject: str,
        message: str,
        severity: Severity = "info",
        *,
        owner: str = "",
        key: str = "",
    ) -> None:
        """Report an event. With `key`, what every control plane sees is one event."""
        event = Event(time=time.time(), kind=kind, subject=subject, message=message, severity=severity)
        self._put((EventEntry(event, key, owner),))

    def _put(self, entries: Iterable[EventEntry]) -> None:
        """Queue events, as far as their owners' shares allow."""
        now = time.time()
        self._queue.put(
            entry
            for entry in entries
            if self._rate_limiter.allow(
                entry.event.kind, entry.owner, f"{entry.event.subject} {entry.event.message}", now
            )
        )

    def _has_room(self, entry: EventEntry) -> bool:
        return self._rate_limiter.has_room(entry.event.kind, entry.owner, time.time())

    def _put_folded(self) -> None:
        """Say how many events were left out."""
        now = time.time()
        for kind, owner, count in self._rate_limiter.folded(now):
            message = f"{count} more events of this kind, caused by {owner or 'strangers'}, were left out"
            event = Event(time=now, kind=kind, subject=owner or "strangers", message=message)
            self._queue.put((EventEntry(event),))

    # --- detected -----------------------------------------------------------------------------------------

    async def _poll(self) -> None:
        self._check_store()
        try:
            await self._check_revisions()
        finally:
            revision = self._revision or 0
            self._put(self._detector.detect(self._capture(), time.time(), revision))
            self._put(self._refusals.detect(self._take_refusals(), time.time(), self._has_room))
            self._put_folded()
        await self._write()
        self._check_store()

    async def _check_revisions(self) -> None:
        newest = self._store.last_seen_revision
        if self._revision is None:
            self._revision = await self._store.events.last_revision()
        if newest > self._revision:
            limit = min(newest - self._revision, MAX_REVISIONS)
            history = await self._store.history(limit, newest + 1)
            new = [revision for revision in history if revision.revision > self._revision]
            self._queue.put(self._detector.detect_revisions(reversed(new)))
            self._revision = max([self._revision, *(revision.revision for revision in new)])

    def _check_store(self) -> None:
        before, self._store_health = self._store_health, self._store.health
        if before.status != self._store_health.status:
            self._queue.put((_store_entry(self._store_health.reason, time.time()),))

    async def _write(self) -> None:
        number, entries = self._queue.next_batch()
        while entries:
            await self._store.events.write(self._writer_id, number, entries)
            self._queue.mark_written()
            number, entries = self._queue.next_batch()


def _store_entry(reason: str, now: float) -> EventEntry:
    message = f"degraded: {reason}" if reason else "reachable again"
    event = Event(
        time=now, kind="store", subject="store", message=message, severity="error" if reason else "info"
    )
    return EventEntry(event, f"store/{bool(reason)}")
