"""What a change of policies would do to the whole mesh: each control plane compares for its own proxies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import PREVIEW_CHANGE
from meshwright.control_plane.cluster.peer_client import PeerClient
from meshwright.control_plane.core.patches import Misfit
from meshwright.control_plane.core.revision import CanonicalDocument
from meshwright.control_plane.core.snapshot import ResourceKey
from meshwright.control_plane.core.translate import Translation
from meshwright.control_plane.core.world import World
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.status import preview
from meshwright.control_plane.status.references import GatewayPorts
from meshwright.control_plane.worker.process import run_in_process

TIMEOUT = 15.0
"""Seconds that a peer has: it starts a process, which translates the documents before and after."""


class ConnectedViewers(Protocol):
    """The proxies that are connected here (xds.push_queue.PushQueue)."""

    def viewers(self) -> frozenset[preview.Viewer]:
        """What they may see depends on these."""

    def affected_nodes(self, changed: Mapping[preview.Viewer, Collection[ResourceKey]]) -> tuple[str, ...]:
        """Names of those that get any of the resources that changed for them."""


class ChangePreview:
    """Previews a change against what is served, each time in a process of its own (worker.process).

    `gateways` are those that are connected to any control plane.
    """

    def __init__(
        self,
        served: Callable[[], Translation | None],
        proxies: ConnectedViewers,
        peers: PeerClient,
        gateways: Callable[[], GatewayPorts] = dict,
    ) -> None:
        self._served = served
        self._gateways = gateways
        self._proxies = proxies
        self._peers = peers
        self._serving = asyncio.Lock()
        peers.register_method(PREVIEW_CHANGE, self._serve)

    def warnings(self, documents: Sequence[CanonicalDocument]) -> list[str]:
        """What in these documents will not do what it says once they are applied; one line each."""
        return preview.preview_warnings(self._world(), documents, self._gateways())

    async def misfits(self, documents: Sequence[CanonicalDocument]) -> tuple[Misfit, ...]:
        """The patches that cannot be applied to what the other documents make. Raises LimitExceededError."""
        return await run_in_process(preview.misfits, self._world(), documents)

    async def diff(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, str]:
        """What differs in documents and in Envoy's resources, as unified diffs of YAML.

        Raises LimitExceededError.
        """
        return await run_in_process(preview.diff, self._world(), before, after)

    async def dry_run(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, tuple[str, ...]]:
        """What differs in documents, as a unified diff of YAML, and the proxies that the change affects.

        Raises LimitExceededError.
        """
        request = pb.PreviewRequest(before_json=map(_serialize, before), after_json=map(_serialize, after))
        viewers = self._proxies.viewers()
        (document_diff, changed), responses = await asyncio.gather(
            run_in_process(preview.dry_run, self._world(), before, after, viewers),
            self._peers.broadcast(PREVIEW_CHANGE, request, timeout_seconds=TIMEOUT),
        )
        elsewhere = (name for response in responses for name in response.proxies)
        return document_diff, tuple(sorted({*self._proxies.affected_nodes(changed), *elsewhere}))

    async def _serve(self, request: pb.PreviewRequest) -> pb.PreviewResponse:
        try:
            before, after = (
                [json.loads(body) for body in bodies] for bodies in (request.before_json, request.after_json)
            )
        except ValueError:
            raise InputError(f"{PREVIEW_CHANGE.name}: invalid document") from None
        viewers = self._proxies.viewers()
        async with self._serving:
            changed = await run_in_process(preview.changed_resources, self._world(), before, after, viewers)
        return pb.PreviewResponse(proxies=sorted(set(self._proxies.affected_nodes(changed))))

    def _world(self) -> World:
        """The world that is served."""
        served = self._served()
        return served.world if served else World(0)


def _serialize(document: CanonicalDocument) -> bytes:
    return json.dumps(document, default=dict).encode()
