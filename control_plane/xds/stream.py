"""One Envoy's stream: its protocol state, the responses to write, and the newest snapshot.

A stream has a writer task only while there is something to write, so a slow Envoy delays nobody else.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection

import structlog

from meshwright.control_plane.api.models.proxies import BoundListener, ProxyStatus
from meshwright.control_plane.core.resource import LDS
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds import metrics
from meshwright.control_plane.xds.node_identity import Peer
from meshwright.control_plane.xds.protocol.cluster_dependencies import ResourceKey
from meshwright.control_plane.xds.protocol.delta import Delta
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted
from meshwright.control_plane.xds.protocol.response import Response, ResponseCache
from meshwright.control_plane.xds.protocol.subscription import error_text

MAX_NAMED_CLUSTERS = 5
"""Clusters that the status of a proxy names."""

IDLE_DELAY = 1.0
"""Seconds without a push until `Delta.on_idle`: longer than the burst of subscriptions with which an Envoy
reconnects."""

IDLE_LIMIT = 5.0
"""Seconds after which idle work is done even if there was a push all the time."""

OUTBOX_LIMIT = 64
"""Responses that may wait for a slow reader before its requests are left unread."""

IN_FLIGHT_LIMIT = 256
"""Responses without a reply beyond which a stream gets no further changes (Envoy replies to each)."""

OVERLOAD_LIMIT = 4096
"""Responses without a reply beyond which a stream is closed."""

MAX_COMPARED = 2000
"""Changed resources that are compared for one stream: some milliseconds."""

log = structlog.get_logger(__name__)

Write = Callable[[bytes], Awaitable[None]]


class OverloadError(Exception):
    """A peer exceeds the limits of one stream or node."""


class Stream:
    """One Envoy's stream. `now` gives monotonic seconds."""

    def __init__(
        self,
        peer: Peer,
        write: Write,
        snapshot: Snapshot,
        responses: ResponseCache,
        last_accepted: LastAccepted,
        *,
        now: Callable[[], float],
    ) -> None:
        self.peer = peer
        node = snapshot.node(peer.identity, peer.bindings)
        self.delta = Delta(node, responses, last_accepted=last_accepted)
        self._write = write
        self._now = now
        self._snapshot = snapshot
        self._is_stale = False
        self._changed: set[ResourceKey] = set()
        self._changed_at: float | None = None
        self._outbox: deque[Response] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._idle_work_since = self._pushed_at = now()
        self._queued_at: dict[str, float] = {}
        self._closed = False
        self._would_change = ((0, 0, 0), False)
        self._changed_revision = snapshot.revision
        self.eviction = ""
        self.on_evicted: Callable[[], object] = lambda: None

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot of which this Envoy gets its part."""
        return self._snapshot

    @property
    def is_behind(self) -> bool:
        """Whether a change that affects this stream is not applied yet."""
        return self._changed_at is not None

    def publish(self, snapshot: Snapshot, changed: Collection[ResourceKey]) -> None:
        """Switch to a newer snapshot; what it changes for this Envoy is written soon."""
        if snapshot.revision > self._snapshot.revision and self._gets_any(snapshot, changed):
            self._changed_revision = snapshot.revision
        self._snapshot, self._is_stale = snapshot, True
        if self._changed_at is not None:
            # The stream is compared with the snapshot anyway: merging costs less than checking.
            self._changed.update(changed)
        elif not self.delta.is_affected(changed):
            self.delta.advance(snapshot.revision)
        else:
            self._changed = set(changed)
            self._changed_at = self._now()
            self._schedule()

    async def receive(self, request: v3.DeltaDiscoveryRequest) -> None:
        """Apply a request; returns when the next one may be read.

        Raises OverloadError when the client keeps subscribing and never replies.
        """
        now = self._now()
        queued_at = self._queued_at.pop(request.response_nonce, None)
        if queued_at is not None:
            metrics.PUSH_SECONDS.observe(now - queued_at)
        self._refresh()
        nacks, rejected_names = self.delta.nacks, self.delta.rejected_names
        self._enqueue(self.delta.on_request(request), now)
        if self.delta.nacks > nacks:
            metrics.NACKS.labels(metrics.short_type(request.type_url)).inc()
            error = error_text(request.error_detail.message)
            log.warning("envoy rejected a response", node=self.peer.node, error=error)
        if self.delta.rejected_names > rejected_names:
            metrics.NAMES_REFUSED.inc(self.delta.rejected_names - rejected_names)
        self._schedule()
        while len(self._outbox) > OUTBOX_LIMIT and self._writer is not None:
            await asyncio.wait({self._writer})
        if self.delta.in_flight > OVERLOAD_LIMIT:
            raise OverloadError(f"no reply to {self.delta.in_flight} responses: closing the stream")

    def has_acked(self, type_url: str, name: str, version: str | None) -> bool:
        """Whether the client ACKed that version or the newest one; true if it does not get the resource."""
        if not self.delta.is_interested(type_url, name):
            return True
        if version is not None and self.delta.is_acked(type_url, name, version):
            return True
        return not self.is_behind and self.delta.is_acked(type_url, name)

    def is_interested(self, keys: Collection[ResourceKey]) -> bool:
        """Whether this client gets any of these resources."""
        return any(self.delta.is_interested(*key) for key in keys)

    def would_change(self, before: Snapshot, after: Snapshot, changed: Collection[ResourceKey]) -> bool:
        """Whether this client gets a resource that differs between two revisions; `changed` are candidates.

        Remembered until the client asks for something else. For large changes one candidate is enough.
        """
        question = (before.revision, after.revision, self.delta.subscribed_names)
        if self._would_change[0] != question:
            candidates = [key for key in changed if self._may_change(key)]
            answer = bool(candidates)
            if 0 < len(candidates) <= MAX_COMPARED:
                nodes = [
                    snapshot.node(self.peer.identity, self.peer.bindings) for snapshot in (before, after)
                ]
                answer = bool(nodes[1].differences(nodes[0], candidates))
            self._would_change = (question, answer)
        return self._would_change[1]

    def _may_change(self, key: ResourceKey) -> bool:
        """Whether this client gets a resource, or would get it if it were new."""
        return self.delta.is_interested(*key) or (key[0] == LDS and self.delta.is_affected((key,)))

    def evict(self, reason: str) -> None:
        """Its client may not use the mesh any longer: end the call that reads from it."""
        self.eviction = reason
        self.on_evicted()

    def close(self) -> None:
        """Stop writing."""
        self._closed = True
        self._outbox.clear()
        if self._writer is not None:
            self._writer.cancel()
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def rejection_text(self) -> str:
        """Envoy's error messages for everything it NACKed; empty when it accepts everything."""
        errors = [
            f"{metrics.short_type(type_url)} {name}: {rejection.message}"
            for (type_url, name), rejection in self.delta.rejected.items()
        ]
        return "; ".join(sorted(errors))

    def status(self) -> ProxyStatus:
        """The state of this proxy, with Envoy's own error message after a NACK."""
        is_synced = self.delta.is_synced and not self.is_behind
        return ProxyStatus(
            name=self.peer.node,
            service=self.peer.identity.name,
            role="gateway" if self.peer.identity.role == "gateway" else "service",
            listeners=tuple(
                BoundListener(name=name, port=port, option=self.peer.port_option)
                for name, port in self.peer.bindings.gateway
            ),
            state="rejected" if self.delta.rejected else "synced" if is_synced else "pending",
            revision=self.delta.acked_revision,
            responded_revision=self.delta.replied_revision,
            rejected_revision=self.delta.rejected_revision,
            published_revision=self._snapshot.revision,
            changed_revision=self._changed_revision,
            error=self.rejection_text(),
            unchecked_clusters=self.delta.unchecked_clusters[:MAX_NAMED_CLUSTERS],
        )

    def _gets_any(self, snapshot: Snapshot, changed: Collection[ResourceKey]) -> bool:
        """Whether this client gets a resource that differs in a newer snapshot.

        The answer matters only for a client that may never reply; for others, and for large changes, it is
        true without a comparison.
        """
        if self.delta.is_synced or len(changed) > MAX_COMPARED:
            return True
        before, after = (
            version.node(self.peer.identity, self.peer.bindings) for version in (self._snapshot, snapshot)
        )
        return self.is_interested(after.differences(before, changed))

    def _refresh(self) -> None:
        """Compare this Envoy with the newest snapshot, unless too many of its replies are missing."""
        if not self._is_stale or self.delta.in_flight >= IN_FLIGHT_LIMIT:
            return
        changed, changed_at = self._changed, self._changed_at
        self._is_stale, self._changed, self._changed_at = False, set(), None
        node = self._snapshot.node(self.peer.identity, self.peer.bindings)
        self._enqueue(self.delta.on_snapshot(node, changed), changed_at or self._now())

    def _enqueue(self, responses: list[Response], since: float) -> None:
        self._outbox.extend(responses)
        if responses:
            self._pushed_at = self._now()
        for response in responses:
            self._queued_at.setdefault(response.nonce, since)
            metrics.PUSHES.labels(metrics.short_type(response.type_url)).inc()

    def _schedule(self) -> None:
        """Start the writer if there is something to write, and the idle timer if there is idle work."""
        if self._closed:
            return
        if self._writer is None and (self._outbox or self.is_behind):
            self._writer = asyncio.create_task(self._write_loop())
        self._schedule_idle()

    def _schedule_idle(self) -> None:
        if self._idle_timer is None and self.delta.has_idle_work:
            self._idle_work_since = self._now()
            self._start_idle_timer(IDLE_DELAY)

    def _start_idle_timer(self, delay: float) -> None:
        self._idle_timer = asyncio.get_running_loop().call_later(delay, self._on_idle)

    async def _write_loop(self) -> None:
        try:
            while not self._closed:
                if not self._outbox:
                    self._refresh()
                if not self._outbox:
                    break
                await self._write(self._outbox.popleft().data)
        except Exception as error:  # the reader sees the end of the stream too, and closes it
            self._closed = True
            log.debug("stream broke while writing", node=self.peer.node, error=repr(error))
        finally:
            self._writer = None
        if not self._closed:
            self._schedule_idle()

    def _on_idle(self) -> None:
        self._idle_timer = None
        self._refresh()
        idle_at = min(self._pushed_at + IDLE_DELAY, self._idle_work_since + IDLE_LIMIT)
        if (remaining := idle_at - self._now()) > 0:
            self._start_idle_timer(remaining)
            self._schedule()
            return
        responses = self.delta.on_idle()
        self._enqueue(responses, self._now())
        if responses or self.delta.is_handing_over:
            self._schedule()
