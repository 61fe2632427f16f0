"""What policies refused as all control planes counted it: each proxy reports to one of them."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import ValidationError

from meshwright.control_plane.api.models.refusals import RefusalCount, RefusalList
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import LIST_REFUSALS
from meshwright.control_plane.cluster.peer_client import PeerClient
from meshwright.control_plane.telemetry.requests.refusal_history import RefusalHistory, merged
from meshwright.control_plane.telemetry.topology.traffic import WINDOW


class ClusterRefusals:
    """`local` has the counts of this control plane; `now` returns epoch seconds."""

    def __init__(self, local: RefusalHistory, peers: PeerClient, now: Callable[[], float]) -> None:
        self._local = local
        self._peers = peers
        self._now = now
        peers.register_method(LIST_REFUSALS, self._serve)

    async def list(self) -> RefusalList:
        """The counts of all control planes that respond, the most frequent first."""
        counts = list(self._local.counts(self._now()))
        for response in await self._peers.broadcast(LIST_REFUSALS, pb.RefusalQuery()):
            counts += _parse(response)
        return RefusalList(window=WINDOW, refusals=merged(counts))

    async def _serve(self, _query: pb.RefusalQuery) -> pb.RefusalList:
        counts = self._local.counts(self._now())
        return pb.RefusalList(refusals_json=[count.model_dump_json().encode() for count in counts])


def _parse(response: pb.RefusalList) -> tuple[RefusalCount, ...]:
    """The counts of a response; none if one of them is invalid."""
    try:
        return tuple(RefusalCount.model_validate_json(body) for body in response.refusals_json)
    except ValidationError:
        return ()
