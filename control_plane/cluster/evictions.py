"""Takes a proxy out of the mesh: its enrolment is refused everywhere until it enrols again.

The eviction goes to the store, which tells all control planes. Each closes the streams of the enrolment,
removes the instances that it registered, and refuses its certificates and their renewal from then on. A
service that is left without instances stays unhealthy, with the eviction as reason, until one registers.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from meshwright.control_plane.agents.enrolments import SeenEnrolments
from meshwright.control_plane.api.models.instances import owner_name
from meshwright.control_plane.api.models.proxies import EvictionResult
from meshwright.control_plane.api.spiffe import parse
from meshwright.control_plane.callers import Caller, Eviction, Evictions
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import FIND_ENROLMENTS
from meshwright.control_plane.cluster.peer_client import PeerClient
from meshwright.control_plane.errors import InputError, NotFoundError

KEEP_SECONDS = 8 * 86400.0
"""How long an eviction is kept: longer than any certificate is valid (ca.authority.SVID_TTL_RANGE)."""

log = structlog.get_logger(__name__)


class ConnectedStreams(Protocol):
    """The proxies that are connected here (xds.push_queue.PushQueue)."""

    def callers(self, node: str, service: str) -> frozenset[Caller]:
        """The callers with a stream for a node of `service`; "" stands for any."""

    def evict(self, enrolment: str, reason: str) -> None:
        """Close the streams of an enrolment."""


class StoredEvictions(Protocol):
    """The evictions of the mesh (store.evictions.EvictionStore). Both methods raise StoreError."""

    async def add(self, evictions: Sequence[Eviction], /) -> None:
        """Store evictions, and tell every control plane."""

    async def list(self) -> tuple[Eviction, ...]:
        """All that are in force."""


class InstanceLeases(Protocol):
    """The registered instances (store.leases.Leases)."""

    async def deregister(self, instance: str, service: str, failure: str) -> bool:
        """Remove an instance that did not leave as planned, but by `failure`; raises StoreError.

        `service`: the owner of its registration, `orders` or `gateway/egress`.
        """


@dataclass(frozen=True, slots=True)
class EvictionTargets:
    """What an eviction takes effect on."""

    streams: ConnectedStreams
    leases: InstanceLeases
    seen: SeenEnrolments


class EvictionService:
    """Evicts proxies. `on_evicted` is called with an eviction that was ordered here."""

    def __init__(
        self,
        store: StoredEvictions,
        evictions: Evictions,
        targets: EvictionTargets,
        peers: PeerClient,
        on_evicted: Callable[[Eviction], None],
    ) -> None:
        self._store = store
        self._evictions = evictions
        self._targets = targets
        self._peers = peers
        self._on_evicted = on_evicted
        peers.register_method(FIND_ENROLMENTS, self._serve_find)

    async def evict(self, node: str, service: str, author: str, message: str) -> EvictionResult:
        """Evict a proxy of `service`; "" stands for the only service or gateway with a proxy of this name.

        Raises NotFoundError if no control plane received a report of it in the last minute, InputError if
        several services have a proxy of this name, and StoreError.
        """
        callers = set(self._find(node, service))
        for response in await self._peers.broadcast(FIND_ENROLMENTS, pb.Command(node=node, service=service)):
            callers |= _parse(response)
        if not callers:
            raise NotFoundError(f"no such proxy: {node}: see `mesh proxies`")
        identities = sorted({caller.identity.uri for caller in callers})
        if len(identities) > 1:
            raise InputError(f"{node}: several proxies have this name, of {' and '.join(identities)}")
        now = time.time()
        evictions = [
            Eviction(caller.enrolment, identities[0], node, author, message, now, now + KEEP_SECONDS)
            for caller in sorted(callers, key=lambda caller: caller.enrolment)
        ]
        await self._store.add(evictions)
        await self.refresh()
        self._on_evicted(evictions[0])
        owner = next(iter(callers)).identity.name
        return EvictionResult(name=node, service=owner, enrolments=len(evictions))

    async def refresh(self) -> None:
        """Apply the evictions in the store; raises StoreError."""
        for eviction in self._evictions.replace(await self._store.list()):
            log.warning("proxy evicted", identity=eviction.identity, node=eviction.proxy, by=eviction.author)
            self._targets.streams.evict(eviction.enrolment, str(eviction))
            for identity, node in self._targets.seen.nodes_of(eviction.enrolment, time.monotonic()):
                if identity.role != "control-plane":
                    owner = owner_name(identity.name, identity.role)
                    await self._targets.leases.deregister(node, owner, eviction.failure)

    def _find(self, node: str, service: str) -> Iterable[Caller]:
        return self._targets.streams.callers(node, service) | self._targets.seen.of_node(
            node, service, time.monotonic()
        )

    async def _serve_find(self, request: pb.Command) -> pb.EnrolmentList:
        response = pb.EnrolmentList()
        for caller in self._find(request.node, request.service):
            response.enrolments.add(identity=caller.identity.uri, enrolment=caller.enrolment)
        return response


def _parse(response: pb.EnrolmentList) -> set[Caller]:
    callers = set()
    for item in response.enrolments:
        with contextlib.suppress(ValueError):
            callers.add(Caller(parse(item.identity), item.enrolment))
    return callers
