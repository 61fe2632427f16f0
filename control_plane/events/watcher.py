"""The watch: looks at the mesh every second, tells what happened, and sees that the store gets it.

Nothing that serves sidecars waits for it: what others tell it is put in line at once and written from here.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable

import structlog

from meshwright.control_plane.api.models.base import RevisionInfo
from meshwright.control_plane.api.models.events import Event, EventKind, Severity
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.errors import StoreError
from meshwright.control_plane.events.detector import ChangeDetector
from meshwright.control_plane.events.rate_limit import EventRateLimiter
from meshwright.control_plane.events.state import MeshState
from meshwright.control_plane.events.write_queue import EventWriteQueue
from meshwright.control_plane.store.events import EventEntry
from meshwright.control_plane.store.store import Store

POLL_INTERVAL = 1.0
"""Seconds between two looks: sidecars report as often."""

MAX_REVISIONS = 100
"""Revisions told of at most after a time in which nobody looked."""

MAX_REASON_CHARS = 300
"""Characters of a refusal's reason."""

log = structlog.get_logger(__name__)


class EventWatcher:
    """Notices what happens to one mesh. `picture` takes the mesh's picture; it is called every second."""

    def __init__(self, store: Store, picture: Callable[[], MeshState]) -> None:
        self._store = store
        self._picture = picture
        self._changes = ChangeDetector()
        self._outbox = EventWriteQueue()
        self._sparing = EventRateLimiter()
        self._writer = secrets.token_hex(8)
        self._revision: int | None = None
        self._store_state = store.health

    async def run(self) -> None:
        """Look and write for ever."""
        while True:
            started = time.monotonic()
            try:
                await self._look()
            except StoreError:
                pass
            except Exception:
                log.exception("looking for events failed")
            await asyncio.sleep(max(0.1, POLL_INTERVAL - (time.monotonic() - started)))

    # --- what others tell -------------------------------------------------------------------------

    def leases_expired(self, instances: Iterable[str]) -> None:
        """Leases of instances ended unrenewed."""
        known = self._changes.last_instances
        for name in instances:
            service = known[name][0] if name in known else "a service"
            words = f"{service} lost {name}: no sign of life, its lease ended"
            self._tell("lease", name, words, "warning")

    def certificate_issued(self, identity: Identity, *, renewed: bool) -> None:
        """A workload got its first certificate, or a newer one."""
        words = "certificate renewed" if renewed else "certificate issued: enrolled with a join token"
        self._tell("svid", identity.uri, words)

    def enrolment_refused(self, peer: str, reason: str) -> None:
        """Somebody was refused a certificate."""
        self._tell("enrolment", peer, f"enrolment refused: {reason}"[:MAX_REASON_CHARS], "warning")

    def manual_change(self, proxy: str, what: str) -> None:
        """Somebody changed something of a sidecar past its policies."""
        self._tell("sidecar", proxy, what[:MAX_REASON_CHARS])

    def _tell(self, kind: EventKind, subject: str, message: str, severity: Severity = "info") -> None:
        now = time.time()
        if self._sparing.allow(kind, f"{subject} {message}", now):
            event = Event(time=now, kind=kind, subject=subject, message=message, severity=severity)
            self._outbox.put((EventEntry(event),))

    # --- what is seen -----------------------------------------------------------------------------

    async def _look(self) -> None:
        self._look_at_store()
        try:
            await self._look_at_revisions()
        finally:
            served = self._revision or 0
            self._outbox.put(self._changes.detect(self._picture(), time.time(), served))
        await self._write()
        self._look_at_store()

    async def _look_at_revisions(self) -> None:
        newest = self._store.last_seen_revision
        if self._revision is None:
            self._revision = await self._store.events.last_revision()
        if newest > self._revision:
            found = await self._store.history(min(newest - self._revision, MAX_REVISIONS), newest + 1)
            fresh: list[RevisionInfo] = [one for one in found if one.revision > self._revision]
            self._outbox.put(self._changes.detect_revisions(reversed(fresh)))
            self._revision = max([self._revision, *(one.revision for one in fresh)])

    def _look_at_store(self) -> None:
        before, self._store_state = self._store_state, self._store.health
        if before.status != self._store_state.status:
            self._outbox.put((_of_store(self._store.health.reason, time.time()),))

    async def _write(self) -> None:
        number, entries = self._outbox.next_batch()
        while entries:
            await self._store.events.write(self._writer, number, entries)
            self._outbox.mark_written()
            number, entries = self._outbox.next_batch()


def _of_store(reason: str, now: float) -> EventEntry:
    words = f"degraded: {reason}" if reason else "answers again"
    event = Event(
        time=now, kind="store", subject="store", message=words, severity="error" if reason else "info"
    )
    return EventEntry(event, f"store/{bool(reason)}")
