"""What a change of policies would do to the whole mesh: each control plane compares for its own proxies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import zip_longest
from typing import Protocol

from meshwright.control_plane.api.models.authorization import ObservedCalls
from meshwright.control_plane.api.models.lint import LintReport
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


ProxyKey = tuple[str, str]
"""Service or gateway, and name."""


class ConnectedViewers(Protocol):
    """The proxies that are connected here (xds.push_queue.PushQueue)."""

    def viewers(self) -> frozenset[preview.Viewer]:
        """What they may see depends on these."""

    def affected_proxies(
        self, changed: Mapping[preview.Viewer, Collection[ResourceKey]]
    ) -> tuple[ProxyKey, ...]:
        """Those that get any of the resources that changed for them."""


class ChangePreview:
    """Previews a change against what is served, each time in a process of its own (worker.process).

    `gateways` are those that are connected to any control plane, `calls` those that were seen here lately.
    """

    def __init__(
        self,
        served: Callable[[], Translation | None],
        proxies: ConnectedViewers,
        peers: PeerClient,
        gateways: Callable[[], GatewayPorts] = dict,
        calls: Callable[[], ObservedCalls] = lambda: preview.NO_CALLS,
    ) -> None:
        self._calls = calls
        self._served = served
        self._gateways = gateways
        self._proxies = proxies
        self._peers = peers
        self._serving = asyncio.Lock()
        peers.register_method(PREVIEW_CHANGE, self._serve)

    def service_names(self) -> Collection[str]:
        """The names of the services that the mesh knows."""
        return self._world().services.keys()

    def warnings(self, documents: Sequence[CanonicalDocument]) -> list[str]:
        """What in these documents will not do what it says once they are applied; one line each."""
        return preview.preview_warnings(self._world(), documents, self._gateways())

    def unresolved(
        self, applied: Sequence[CanonicalDocument], others: Sequence[CanonicalDocument], revision: int
    ) -> list[tuple[str, str]]:
        """Which of the documents `applied` would not be Accepted, or not ResolvedRefs, and why."""
        return preview.unresolved(self._world(), applied, others, revision, self._gateways())

    def misplaced_urls(self, applied: Sequence[CanonicalDocument]) -> list[tuple[str, str]]:
        """URLs that proxies must not call by their scheme: `Kind/name` of the document, and why."""
        return preview.misplaced_urls(self._world(), applied)

    async def misfits(self, documents: Sequence[CanonicalDocument]) -> tuple[Misfit, ...]:
        """The patches that cannot be applied to what the other documents make. Raises LimitExceededError."""
        return await run_in_process(preview.misfits, self._world(), documents)

    async def plan(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[preview.ChangePlan, frozenset[ProxyKey]]:
        """What differs in documents and in Envoy's resources, and the connected proxies that it affects.

        Raises LimitExceededError.
        """
        viewers = self._proxies.viewers()
        planned, elsewhere = await asyncio.gather(
            run_in_process(preview.plan, self._world(), before, after, viewers, self._calls()),
            self._affected_elsewhere(before, after),
        )
        return planned, elsewhere.union(self._proxies.affected_proxies(planned.resources))

    async def lint(self) -> LintReport:
        """What lint finds in the policies in force. Raises LimitExceededError."""
        return await run_in_process(preview.lint, self._world(), self._calls())

    async def dry_run(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> tuple[str, tuple[str, ...]]:
        """What differs in documents, as a unified diff of YAML, and the proxies that the change affects.

        Raises LimitExceededError.
        """
        viewers = self._proxies.viewers()
        (document_diff, changed), elsewhere = await asyncio.gather(
            run_in_process(preview.dry_run, self._world(), before, after, viewers),
            self._affected_elsewhere(before, after),
        )
        affected = elsewhere.union(self._proxies.affected_proxies(changed))
        return document_diff, tuple(sorted({name for _, name in affected}))

    async def _affected_elsewhere(
        self, before: Sequence[CanonicalDocument], after: Sequence[CanonicalDocument]
    ) -> frozenset[ProxyKey]:
        """The proxies of peers. A peer of an older release does not say of which service they are: ""."""
        request = pb.PreviewRequest(before_json=map(_serialize, before), after_json=map(_serialize, after))
        responses = await self._peers.broadcast(PREVIEW_CHANGE, request, timeout_seconds=TIMEOUT)
        return frozenset(
            (service, name)
            for response in responses
            for service, name in zip_longest(
                response.services[: len(response.proxies)], response.proxies, fillvalue=""
            )
        )

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
        affected = sorted(set(self._proxies.affected_proxies(changed)))
        return pb.PreviewResponse(
            proxies=[name for _, name in affected], services=[service for service, _ in affected]
        )

    def _world(self) -> World:
        """The world that is served."""
        served = self._served()
        return served.world if served else World(0)


def _serialize(document: CanonicalDocument) -> bytes:
    return json.dumps(document, default=dict).encode()
