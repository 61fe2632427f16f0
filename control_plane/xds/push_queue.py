"""All open streams: a new snapshot is pushed to those that it affects.

Each stream has at most one pending push, for the newest snapshot. Earlier changes are merged into it.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import Caller
from meshwright.control_plane.core.resource import Resource
from meshwright.control_plane.core.snapshot import Bindings, ChangedResources, ResourceKey, Snapshot
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.xds import metrics
from meshwright.control_plane.xds.node_identity import Peer
from meshwright.control_plane.xds.protocol.last_accepted import LastAccepted
from meshwright.control_plane.xds.protocol.response import ResponseCache
from meshwright.control_plane.xds.stream import OverloadError, Stream, Write

STREAMS_PER_NODE = 8
"""Open streams of one node: two in a hot restart, and some for connections that died unnoticed."""

DISCONNECTED_TTL = 60.0
"""Seconds for which a proxy is listed as disconnected."""

DISCONNECTED_LIMIT = 4096
"""Disconnected proxies that are listed."""


@dataclass(frozen=True, slots=True)
class TrialSnapshot:
    """The snapshot of a revision on trial, and the proxies that get it, as `service/name`."""

    snapshot: Snapshot
    admitted: frozenset[str] = frozenset()


class PushQueue:
    """All open streams and the newest snapshots. `now` gives monotonic seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._streams: dict[Stream, None] = {}
        self._per_node: Counter[tuple[Identity, str]] = Counter()
        self._owners: dict[str, Counter[str]] = {}
        self._gateways: Counter[Identity] = Counter()
        self._disconnected: dict[tuple[Identity, str], tuple[float, ProxyStatus]] = {}
        self._snapshot: Snapshot | None = None
        self._trial: TrialSnapshot | None = None
        self._tried: ChangedResources = frozenset()
        self._responses = ResponseCache()
        self._last_accepted: dict[Identity, LastAccepted] = {}
        self._first_snapshot = asyncio.Event()
        self._progress = asyncio.Event()

    def publish(self, snapshot: Snapshot, trial: TrialSnapshot | None = None) -> None:
        """Switch to a newer snapshot and start to push what it changes. Returns at once.

        The proxies that `trial` admits get its snapshot instead; new ones do not.
        """
        self._snapshot, self._trial = snapshot, trial
        self._tried = trial.snapshot.changed_from(snapshot) if trial else frozenset()
        self._first_snapshot.set()
        changes: dict[tuple[int, int], ChangedResources] = {}
        for stream in self._streams:
            before, after = stream.snapshot, self._snapshot_of(stream.peer, snapshot)
            if after is before:
                continue
            pair = (id(before), id(after))
            if pair not in changes:
                changes[pair] = after.changed_from(before)
            stream.publish(after, changes[pair])
        self._notify_progress()

    def _snapshot_of(self, peer: Peer, stable: Snapshot) -> Snapshot:
        """What a peer gets."""
        is_admitted = self._trial and f"{peer.identity.name}/{peer.node}" in self._trial.admitted
        return self._trial.snapshot if self._trial and is_admitted else stable

    async def join(self, peer: Peer, write: Write) -> Stream:
        """Open a stream once there is a snapshot. Raises OverloadError when the node has too many."""
        key = (peer.identity, peer.node)
        if self._per_node[key] >= STREAMS_PER_NODE:
            raise OverloadError(f"{peer.node} already has {STREAMS_PER_NODE} streams")
        self._per_node[key] += 1
        self._owners.setdefault(peer.node, Counter())[peer.identity.name] += 1
        if peer.identity.role == "gateway":
            self._gateways[peer.identity] += 1
        try:
            while self._snapshot is None:
                await self._first_snapshot.wait()
            snapshot = self._snapshot_of(peer, self._snapshot)
            last_accepted = self._last_accepted.setdefault(peer.identity, LastAccepted())
            stream = Stream(peer, write, snapshot, self._responses, last_accepted, now=self._now)
        except BaseException:
            self._release(key)
            raise
        self._streams[stream] = None
        self._disconnected.pop(key, None)
        metrics.STREAMS.inc()
        return stream

    def leave(self, stream: Stream) -> None:
        """Close a stream; unless the node has another one, the proxy is listed as disconnected."""
        if stream not in self._streams:
            return
        stream.close()
        del self._streams[stream]
        metrics.STREAMS.dec()
        key = (stream.peer.identity, stream.peer.node)
        if not self._release(key):
            status = stream.status().model_copy(update={"state": "disconnected"})
            if stream.eviction:
                status = status.model_copy(update={"error": stream.eviction})
            self._disconnected[key] = (self._now(), status)
            while len(self._disconnected) > DISCONNECTED_LIMIT:
                del self._disconnected[next(iter(self._disconnected))]
        self._notify_progress()

    def callers(self, node: str, service: str) -> frozenset[Caller]:
        """The callers with a stream for a node of `service`; "" stands for any service or gateway."""
        peers = (stream.peer for stream in self._streams)
        return frozenset(
            Caller(peer.identity, peer.enrolment)
            for peer in peers
            if peer.node == node and service in ("", peer.identity.name) and peer.enrolment
        )

    def gateways(self) -> frozenset[str]:
        """The gateways with a stream."""
        return frozenset(identity.name for identity in self._gateways)

    def owners_of(self, node: str) -> frozenset[str]:
        """The services and gateways with a stream for a node of this name."""
        return frozenset(self._owners.get(node, ()))

    def evict(self, enrolment: str, reason: str) -> None:
        """Close the streams of an enrolment. They are no longer waited for, and listed with the reason."""
        for stream in tuple(self._streams):
            if stream.peer.enrolment == enrolment:
                stream.evict(reason)
                self.leave(stream)

    async def receive(self, stream: Stream, request: v3.DeltaDiscoveryRequest) -> None:
        """Pass a request to its stream, then wake the waiters for ACKs; raises OverloadError."""
        await stream.receive(request)
        if request.response_nonce:
            self._notify_progress()

    # --- queries -------------------------------------------------------------------------------------

    def proxies(self) -> tuple[ProxyStatus, ...]:
        """All proxies by name, including those that disconnected within the last minute.

        If a node has two streams (a hot restart), the newer one counts.
        """
        now = self._now()
        self._disconnected = {
            key: entry for key, entry in self._disconnected.items() if now - entry[0] < DISCONNECTED_TTL
        }
        statuses = {key: status for key, (_, status) in self._disconnected.items()}
        statuses |= {
            (stream.peer.identity, stream.peer.node): self._status(stream) for stream in self._streams
        }
        return tuple(sorted(statuses.values(), key=lambda status: (status.service, status.name)))

    def _status(self, stream: Stream) -> ProxyStatus:
        """The state of a proxy, with the revision on trial if that changes what it gets."""
        trial, stable, status = self._trial, self._snapshot, stream.status()
        if trial is None or stable is None or not stream.would_change(stable, trial.snapshot, self._tried):
            return status
        return status.model_copy(update={"trial_revision": trial.snapshot.revision})

    def rejection_texts(self) -> dict[tuple[str, str], str]:
        """Envoy's error messages by (service, name) of the proxy; empty when it accepts everything.

        Cheap enough to call every second.
        """
        return {
            (stream.peer.identity.name, stream.peer.node): stream.rejection_text() for stream in self._streams
        }

    def viewers(self) -> frozenset[tuple[Identity, Bindings]]:
        """What the connected nodes may see depends on these."""
        return frozenset((stream.peer.identity, stream.peer.bindings) for stream in self._streams)

    def affected_proxies(
        self, changed: Mapping[tuple[Identity, Bindings], Collection[ResourceKey]]
    ) -> tuple[tuple[str, str], ...]:
        """(service, name) of the connected proxies that get any of the resources that changed for them."""
        return tuple(
            (stream.peer.identity.name, stream.peer.node)
            for stream in self._streams
            if stream.is_interested(changed.get((stream.peer.identity, stream.peer.bindings), ()))
        )

    def in_flight(self) -> dict[tuple[str, str], int]:
        """Number of responses without a reply, by (service, name) of the proxy."""
        return {
            (stream.peer.identity.name, stream.peer.node): stream.delta.in_flight for stream in self._streams
        }

    def resource_states(self) -> Iterator[Iterator[tuple[Resource, bool, str]]]:
        """For each stream: its resources, whether they are ACKed, and the error after a NACK."""
        return (stream.delta.resource_states() for stream in self._streams)

    # --- waiting for ACKs ----------------------------------------------------------------------------

    def unacked_nodes(self, type_url: str, name: str, version: str | None = None) -> tuple[str, ...]:
        """The nodes that get the resource and have not ACKed it.

        A stream has ACKed it with `version`, or with the version of the newest snapshot (which may have
        replaced `version` already). So publish first, then call this.
        """
        return tuple(
            stream.peer.node for stream in self._streams if not stream.has_acked(type_url, name, version)
        )

    def is_acked(self, type_url: str, name: str, version: str | None = None) -> bool:
        """Whether `unacked_nodes` is empty."""
        return not self.unacked_nodes(type_url, name, version)

    async def wait_acked(self, type_url: str, name: str, version: str | None = None) -> None:
        """Return once all streams that get the resource have ACKed it, or are closed."""
        while not self.is_acked(type_url, name, version):
            await self._progress.wait()

    def _notify_progress(self) -> None:
        self._progress.set()
        self._progress = asyncio.Event()

    def _release(self, key: tuple[Identity, str]) -> int:
        """Count a stream of a node as closed; returns how many remain."""
        self._per_node[key] -= 1
        remaining = self._per_node[key]
        identity, node = key
        self._owners[node] -= Counter({identity.name: 1})
        self._gateways -= Counter({identity: 1})
        if not self._owners[node]:
            del self._owners[node]
        if not remaining:
            del self._per_node[key]
        return remaining
