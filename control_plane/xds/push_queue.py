"""From a new snapshot to the streams it concerns.

At most one push waits for a stream, and it is for the newest snapshot: whatever came before is merged into
it. A stream has a writer only while there is something to write, so a slow Envoy costs nothing but itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass
from typing import Protocol, Self

import structlog

from meshwright.control_plane.api.models.base import ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.status.conditions import RolloutCount
from meshwright.control_plane.status.rollout import count_rollout
from meshwright.control_plane.xds import metrics
from meshwright.control_plane.xds.node_config import NodeConfig
from meshwright.control_plane.xds.protocol.cluster_dependencies import ResourceKey
from meshwright.control_plane.xds.protocol.delta import Delta
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted
from meshwright.control_plane.xds.protocol.response import Response, ResponseCache
from meshwright.control_plane.xds.protocol.subscription import ERROR_LIMIT

IDLE_DELAY = 1.0
"""Seconds until `Delta.on_quiet`: longer than the burst of subscriptions with which an Envoy reconnects."""

OUTBOX_LIMIT = 64
"""Responses that may wait for a slow reader before its requests are left unread."""

IN_FLIGHT_LIMIT = 256
"""Unanswered responses beyond which a stream gets no further changes (Envoy answers each)."""

OVERLOAD_LIMIT = 4096
"""Unanswered responses beyond which a stream is ended."""

STREAMS_PER_NODE = 8
"""Streams of one node at a time: two in a hot restart, some more for connections that died unnoticed."""

DISCONNECTED_TTL = 60.0
"""Seconds that a proxy is shown as disconnected before it is forgotten."""

DISCONNECTED_LIMIT = 4096
"""Disconnected proxies that are shown at most."""

log = structlog.get_logger(__name__)

Write = Callable[[bytes], Awaitable[None]]


class OverloadError(Exception):
    """A peer goes beyond what one stream or node may cost."""


class Snapshot(Protocol):
    """All configuration at one revision, as `meshwright.control_plane.core.snapshot` makes it."""

    @property
    def revision(self) -> int:
        """The world's revision."""

    def node(self, identity: Identity, bindings: Bindings) -> NodeConfig:
        """What the proxies of `identity` may see."""

    def changed_from(self, before: Self) -> Collection[ResourceKey] | None:
        """All that may differ from `before`, for any node; None when that is not known."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end of a stream. `node` is unique only among the peers of one mind."""

    identity: Identity
    node: str
    bindings: Bindings


class Stream:
    """One Envoy's stream: the protocol's state, what waits to be written, and the newest snapshot."""

    def __init__(
        self,
        peer: Peer,
        write: Write,
        snapshot: Snapshot,
        responses: ResponseCache,
        last_accepted: LastAccepted,
    ) -> None:
        self.peer = peer
        self.delta = Delta(
            snapshot.node(peer.identity, peer.bindings), responses, last_accepted=last_accepted
        )
        self._write = write
        self._snapshot = snapshot
        self._stale = False
        self._changed: set[ResourceKey] | None = set()
        self._changed_at: float | None = None
        self._outbox: deque[Response] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._sent_at: dict[str, float] = {}
        self._closed = False

    @property
    def is_behind(self) -> bool:
        """Whether a change that concerns this stream has not been looked at yet."""
        return self._changed_at is not None

    def publish(self, snapshot: Snapshot, changed: Collection[ResourceKey] | None) -> None:
        """Take notice of a newer snapshot; what it changes for this Envoy is written soon."""
        self._snapshot, self._stale = snapshot, True
        if self._changed_at is not None:
            # It is going to be compared anyhow: merging costs less than finding out.
            if changed is None or self._changed is None:
                self._changed = None
            else:
                self._changed.update(changed)
        elif changed is not None and not self.delta.is_affected(changed):
            self.delta.advance(snapshot.revision)
        else:
            self._changed = None if changed is None else set(changed)
            self._changed_at = time.monotonic()
            self._schedule()

    async def receive(self, request: v3.DeltaDiscoveryRequest) -> None:
        """Take in a request; returns when the next one may be read.

        Raises Overload when the client asks on and on without ever answering.
        """
        now = time.monotonic()
        started = self._sent_at.pop(request.response_nonce, None)
        if started is not None:
            metrics.PUSH_SECONDS.observe(now - started)
        self._refresh()
        nacks, refused = self.delta.nacks, self.delta.rejected_names
        self._enqueue(self.delta.on_request(request), now)
        if self.delta.nacks > nacks:
            metrics.NACKS.labels(metrics.short_type(request.type_url)).inc()
            log.warning("envoy refused a response", node=self.peer.node, error=error_text(request))
        if self.delta.rejected_names > refused:
            metrics.NAMES_REFUSED.inc(self.delta.rejected_names - refused)
        self._schedule()
        while len(self._outbox) > OUTBOX_LIMIT and self._writer is not None:
            await asyncio.wait({self._writer})
        if self.delta.in_flight > OVERLOAD_LIMIT:
            raise OverloadError(f"{self.delta.in_flight} responses were not answered: the stream is given up")

    def has_acked(self, type_url: str, name: str, version: str | None) -> bool:
        """Whether the client has ACKed the version or the newest one, or does not get the resource."""
        if not self.delta.is_interested(type_url, name):
            return True
        if version is not None and self.delta.is_acked(type_url, name, version):
            return True
        return not self.is_behind and self.delta.is_acked(type_url, name)

    def is_affected(self, before: Snapshot, after: Snapshot, changed: Collection[ResourceKey] | None) -> bool:
        """Whether any of `changed` (None: not known, so yes) is this client's, and differs for it."""
        if changed is None:
            return True
        old, new = (one.node(self.peer.identity, self.peer.bindings) for one in (before, after))
        return any(
            self.delta.is_interested(kind, name) and _version(old, kind, name) != _version(new, kind, name)
            for kind, name in changed
        )

    def close(self) -> None:
        """Stop writing."""
        self._closed = True
        self._outbox.clear()
        if self._writer is not None:
            self._writer.cancel()
        if self._idle_timer is not None:
            self._idle_timer.cancel()

    def rejection_text(self) -> str:
        """What this Envoy refuses and why, in its own words; empty when it takes everything."""
        rejected = self.delta.rejected
        errors = [
            f"{metrics.short_type(kind)} {name}: {why.message}" for (kind, name), why in rejected.items()
        ]
        return "; ".join(sorted(errors))

    def status(self) -> ProxyStatus:
        """How this Envoy stands; a rejection is shown in Envoy's own words."""
        rejected = self.delta.rejected
        state = (
            "rejected" if rejected else "synced" if self.delta.is_synced and not self.is_behind else "pending"
        )
        return ProxyStatus(
            name=self.peer.node,
            service=self.peer.identity.name,
            state=state,
            revision=self.delta.acked_revision,
            responded_revision=self.delta.replied_revision,
            rejected_revision=self.delta.rejected_revision,
            error=self.rejection_text(),
        )

    def _refresh(self) -> None:
        """Compare this Envoy with the newest snapshot, unless it owes too many answers."""
        if not self._stale or self.delta.in_flight >= IN_FLIGHT_LIMIT:
            return
        changed, since = self._changed, self._changed_at
        self._stale, self._changed, self._changed_at = False, set(), None
        config = self._snapshot.node(self.peer.identity, self.peer.bindings)
        self._enqueue(self.delta.on_snapshot(config, changed), since or time.monotonic())

    def _enqueue(self, responses: list[Response], since: float) -> None:
        self._outbox.extend(responses)
        for response in responses:
            self._sent_at.setdefault(response.nonce, since)
            metrics.PUSHES.labels(metrics.short_type(response.type_url)).inc()

    def _schedule(self) -> None:
        """See that what is due gets written, now or in a quiet moment."""
        if self._closed:
            return
        if self._writer is None and (self._outbox or self.is_behind):
            self._writer = asyncio.create_task(self._write_loop())
        if self._idle_timer is None and self.delta.has_idle_work:
            self._idle_timer = asyncio.get_running_loop().call_later(IDLE_DELAY, self._on_idle)

    async def _write_loop(self) -> None:
        try:
            while not self._closed:
                if not self._outbox:
                    self._refresh()
                if not self._outbox:
                    break
                await self._write(self._outbox.popleft().data)
        except Exception as error:  # the reader sees the end of the stream too and closes it
            self._closed = True
            log.debug("stream broke while writing", node=self.peer.node, error=repr(error))
        finally:
            self._writer = None
        if self._idle_timer is None and self.delta.has_idle_work and not self._closed:
            self._idle_timer = asyncio.get_running_loop().call_later(IDLE_DELAY, self._on_idle)

    def _on_idle(self) -> None:
        self._idle_timer = None
        self._refresh()
        responses = self.delta.on_idle()
        self._enqueue(responses, time.monotonic())
        if responses:
            self._schedule()


def _version(config: NodeConfig, type_url: str, name: str) -> str:
    found = config.get(type_url, name)
    return found.version if found else ""


class PushQueue:
    """All open streams and the newest snapshot."""

    def __init__(self) -> None:
        self._streams: dict[Stream, None] = {}
        self._per_node: Counter[tuple[Identity, str]] = Counter()
        self._disconnected: dict[tuple[Identity, str], tuple[float, ProxyStatus]] = {}
        self._snapshot: Snapshot | None = None
        self._responses = ResponseCache()
        self._last_accepted: dict[Identity, LastAccepted] = {}
        self._first_snapshot = asyncio.Event()
        self._progress = asyncio.Event()

    def publish(self, snapshot: Snapshot) -> None:
        """Make `snapshot` the newest and start pushing what it changes. Returns at once."""
        before, self._snapshot = self._snapshot, snapshot
        self._first_snapshot.set()
        if before is None:
            return
        changed = snapshot.changed_from(before)
        for stream in self._streams:
            stream.publish(snapshot, changed)
        self._notify_progress()

    async def join(self, peer: Peer, write: Write) -> Stream:
        """Open a stream; waits for the first snapshot. Raises Overload when this node has too many."""
        key = (peer.identity, peer.node)
        if self._per_node[key] >= STREAMS_PER_NODE:
            raise OverloadError(f"{peer.node} has {STREAMS_PER_NODE} streams already")
        self._per_node[key] += 1
        try:
            while self._snapshot is None:
                await self._first_snapshot.wait()
            proven = self._last_accepted.setdefault(peer.identity, LastAccepted())
            stream = Stream(peer, write, self._snapshot, self._responses, proven)
        except BaseException:
            self._release(key)
            raise
        self._streams[stream] = None
        self._disconnected.pop(key, None)
        metrics.STREAMS.inc()
        return stream

    def leave(self, stream: Stream) -> None:
        """Close a stream; its proxy is shown as disconnected for a while unless another stream is its."""
        stream.close()
        del self._streams[stream]
        metrics.STREAMS.dec()
        key = (stream.peer.identity, stream.peer.node)
        if not self._release(key):
            last = stream.status().model_copy(update={"state": "disconnected"})
            self._disconnected[key] = (time.monotonic(), last)
            while len(self._disconnected) > DISCONNECTED_LIMIT:
                del self._disconnected[next(iter(self._disconnected))]
        self._notify_progress()

    async def receive(self, stream: Stream, request: v3.DeltaDiscoveryRequest) -> None:
        """Give a request to its stream, then wake who waits for ACKs; raises as Stream.receive does."""
        await stream.receive(request)
        if request.response_nonce:
            self._notify_progress()

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """All proxies by name, the disconnected ones of the last minute among them.

        Of two streams of one node (a hot restart) the one opened last speaks for it.
        """
        now = time.monotonic()
        self._disconnected = {
            key: entry for key, entry in self._disconnected.items() if now - entry[0] < DISCONNECTED_TTL
        }
        found = {key: status for key, (_, status) in self._disconnected.items()}
        found |= {(stream.peer.identity, stream.peer.node): stream.status() for stream in self._streams}
        return tuple(sorted(found.values(), key=lambda status: (status.service, status.name)))

    def rejection_texts(self) -> dict[tuple[str, str], str]:
        """What each connected proxy, by service and name, says of what it refuses; empty when it takes all.

        Cheap enough to be asked every second.
        """
        return {(one.peer.identity.name, one.peer.node): one.rejection_text() for one in self._streams}

    def affected_nodes(self, before: Snapshot, after: Snapshot) -> tuple[str, ...]:
        """The connected nodes that would be sent something if they came from one snapshot to another."""
        changed = after.changed_from(before)
        return tuple(one.peer.node for one in tuple(self._streams) if one.is_affected(before, after, changed))

    def in_flight(self) -> dict[tuple[str, str], int]:
        """Responses without an answer, by the service and the name of each connected proxy."""
        found: dict[tuple[str, str], int] = {}
        for stream in self._streams:
            found[stream.peer.identity.name, stream.peer.node] = stream.delta.in_flight
        return found

    def rollout_counts(self) -> dict[str, RolloutCount]:
        """How what each policy (`Kind/name`) shaped fares at the proxies that are connected."""
        return count_rollout(stream.delta.resource_states() for stream in self._streams)

    def unacked_nodes(self, type_url: str, name: str, version: str | None = None) -> tuple[str, ...]:
        """The interested nodes that have not ACKed the resource.

        A stream has when it ACKed `version`, or whatever the newest snapshot holds (which may have replaced
        `version` already). So publish first, then ask.
        """
        return tuple(
            stream.peer.node for stream in self._streams if not stream.has_acked(type_url, name, version)
        )

    def is_acked(self, type_url: str, name: str, version: str | None = None) -> bool:
        """Whether no interested stream is still `waiting` for the resource."""
        return not self.unacked_nodes(type_url, name, version)

    async def wait_acked(self, type_url: str, name: str, version: str | None = None) -> None:
        """Return as soon as `acked`: all interested streams have ACKed, or are gone."""
        while not self.is_acked(type_url, name, version):
            await self._progress.wait()

    def _notify_progress(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    def _release(self, key: tuple[Identity, str]) -> int:
        self._per_node[key] -= 1
        left = self._per_node[key]
        if not left:
            del self._per_node[key]
        return left


def error_text(request: v3.DeltaDiscoveryRequest) -> str:
    """Envoy's words in a NACK, cut to what a log can bear."""
    return request.error_detail.message[:ERROR_LIMIT]
