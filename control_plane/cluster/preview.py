"""What a change of policies would do to the whole mesh: each control plane compares for its own proxies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence

from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import PREVIEW_CHANGE
from meshwright.control_plane.cluster.peer_client import PeerClient
from meshwright.control_plane.core.revision import CanonicalDocument
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import World
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.status import preview

TIMEOUT = 5.0
"""Seconds that a peer has: it translates the documents before and after."""


class ChangePreview:
    """Previews a change against what is served. `affected_nodes` compares two snapshots for the proxies
    connected here.
    """

    def __init__(
        self,
        served: Callable[[], Translation | None],
        affected_nodes: Callable[[Snapshot, Snapshot], Iterable[str]],
        peers: PeerClient,
    ) -> None:
        self._served = served
        self._affected_nodes = affected_nodes
        self._peers = peers
        peers.register_method(PREVIEW_CHANGE, self._serve)

    def warnings(self, documents: Sequence[CanonicalDocument]) -> list[str]:
        """Unresolved references in these documents once they are applied; one line each."""
        served = self._served()
        return preview.preview_warnings(served.world if served else World(0), documents)

    def resource_diff(self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]) -> str:
        """The Envoy resources that differ, as a unified diff of YAML."""
        return preview.resource_diff(self._served(), before, after)

    async def affected_proxies(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, ...]:
        """Names of the proxies whose configuration the change alters, sorted."""
        request = pb.PreviewRequest(before_json=map(_serialize, before), after_json=map(_serialize, after))
        local, responses = await asyncio.gather(
            asyncio.to_thread(self._affected_here, before, after),
            self._peers.broadcast(PREVIEW_CHANGE, request, timeout_seconds=TIMEOUT),
        )
        return tuple(sorted({*local, *(name for response in responses for name in response.proxies)}))

    async def _serve(self, request: pb.PreviewRequest) -> pb.PreviewResponse:
        try:
            before, after = (
                [json.loads(body) for body in bodies] for bodies in (request.before_json, request.after_json)
            )
        except ValueError:
            raise InputError(f"{PREVIEW_CHANGE.name}: invalid document") from None
        return pb.PreviewResponse(proxies=await asyncio.to_thread(self._affected_here, before, after))

    def _affected_here(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, ...]:
        return preview.affected_proxies(self._served(), before, after, self._affected_nodes)


def _serialize(document: CanonicalDocument) -> bytes:
    return json.dumps(document, default=dict).encode()
