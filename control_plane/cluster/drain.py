"""Drain an instance in the whole mesh: the sidecars that call it may be connected to any control plane."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from meshwright.control_plane.agents.drain import AckTracker, wait_until_drained
from meshwright.control_plane.api.models.instances import DrainResult
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import WAIT_UNTIL_DRAINED
from meshwright.control_plane.cluster.peer_client import PeerClient
from meshwright.control_plane.core.translate import Translation

TIMEOUT = 4.0
"""Seconds that peers have; less than agents.service.DRAIN_TIMEOUT."""


class ClusterDrain:
    """`served` returns the current translation, `acks` what sidecars connected here have acknowledged."""

    def __init__(
        self,
        served: Callable[[], Translation | None],
        acks: AckTracker,
        peers: PeerClient,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._served = served
        self._acks = acks
        self._peers = peers
        self._sleep = sleep
        peers.register_method(WAIT_UNTIL_DRAINED, self._serve)

    async def wait(self, service: str, instance: str) -> DrainResult:
        """Wait until every sidecar of the mesh has ACKed that an instance of `service` drains.

        `drained` is false if a reachable peer did not confirm that in time.
        """
        expected = len(self._peers.reachable())
        result, responses = await asyncio.gather(
            self._wait_here(service, instance),
            self._peers.broadcast(
                WAIT_UNTIL_DRAINED,
                pb.DrainRequest(instance=instance, service=service),
                timeout_seconds=TIMEOUT,
            ),
        )
        return result if len(responses) == expected else DrainResult(drained=False)

    async def _serve(self, request: pb.DrainRequest) -> pb.DrainResponse:
        await self._wait_here(request.service, request.instance)
        return pb.DrainResponse()

    async def _wait_here(self, service: str, instance: str) -> DrainResult:
        return await wait_until_drained(service, instance, self._served, self._acks, self._sleep)
