"""The resources that the client of one stream should have, by its subscriptions and the current snapshot."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from meshwright.control_plane.core.endpoint_handover import is_checked
from meshwright.control_plane.core.resource import CDS, ECDS, EDS, LDS, RDS, VHDS, Resource
from meshwright.control_plane.core.snapshot import NodeSnapshot
from meshwright.control_plane.xds.protocol.cluster_dependencies import ClusterDependencies, ResourceKey
from meshwright.control_plane.xds.protocol.last_accepted import required_clusters
from meshwright.control_plane.xds.protocol.response import empty_endpoints
from meshwright.control_plane.xds.protocol.stream_progress import StreamProgress
from meshwright.control_plane.xds.protocol.subscription import Subscription

ROUTE_TYPES = (ECDS, LDS, RDS, VHDS)
"""Types whose resources refer to clusters."""


class TargetState(StreamProgress):
    """The target of one stream: compared with what its client has, it tells what to send."""

    def __init__(self, snapshot: NodeSnapshot) -> None:
        super().__init__()
        self._snapshot = snapshot
        self._dependencies = ClusterDependencies()

    @property
    def subscribed_names(self) -> int:
        """Number of names that the client asked for or has."""
        return sum(len(sub.names) + len(sub.sent) for sub in self._types.values())

    def is_interested(self, type_url: str, name: str) -> bool:
        """Whether this stream gets the resource (for VHDS: or any alias of it)."""
        sub = self._types.get(type_url)
        return sub is not None and self._is_subscribed(sub, name)

    def is_acked(self, type_url: str, name: str, version: str | None = None) -> bool:
        """Whether the client ACKed that version. None stands for the version in the current snapshot."""
        sub = self._types.get(type_url)
        if sub is None:
            return False
        if version is None:
            resource = self._target(sub, name)
            if resource is None:
                return name not in sub.acked
            name, version = resource.name, resource.version
        return sub.acked.get(name) == version

    def resource_states(self) -> Iterator[tuple[Resource, bool, str]]:
        """Every resource that the client should have, whether it ACKed it, and the error if it NACKed it."""
        for sub in self._types.values():
            for name in sub.sent:
                resource = self._target(sub, name)
                if resource is not None:
                    rejection = sub.rejected.get(name)
                    acked = sub.acked.get(name) == resource.version
                    yield resource, acked, rejection.message if rejection else ""

    @property
    def unchecked_clusters(self) -> tuple[str, ...]:
        """Clusters with health checks that the client has with their endpoints and has not ACKed, sorted.

        It waits for their first checks, or for that of one of them: Envoy does not say for which.
        """
        clusters, endpoints = self._types.get(CDS), self._types.get(EDS)
        if clusters is None or endpoints is None or not clusters.pending:
            return ()
        names = {name for response in clusters.pending for name, _ in response.items}
        return tuple(
            sorted(
                name
                for name in names.intersection(endpoints.acked)
                if (cluster := self._snapshot.get(CDS, name)) and is_checked(cluster)
            )
        )

    def is_affected(self, changed: Collection[ResourceKey]) -> bool:
        """Whether any of the changed resources may concern this stream."""
        for type_url, name in changed:
            sub = self._types.get(type_url)
            if sub is None:
                continue
            # A new host may have a subscribed alias, a new listener is for every node: only the new snapshot
            # can tell.
            if type_url in (LDS, VHDS) or name in sub.names or name in sub.sent:
                return True
            if self._is_subscribed(sub, name):
                return True
        return False

    def _is_subscribed(self, sub: Subscription, name: str) -> bool:
        if name in sub.names or (sub.wildcard and name in self._snapshot.base(sub.type_url)):
            return True
        if sub.type_url == CDS:
            return self._dependencies.reference_counts[name] > 0
        return sub.type_url == VHDS and name in sub.sent

    def _target(self, sub: Subscription, name: str) -> Resource | None:
        """The resource that the client should have under `name`; None for none.

        A cluster that is about to be removed keeps its endpoints: until then routes may refer to it.
        """
        if not self._is_subscribed(sub, name):
            return None
        resource = self._snapshot.get(sub.type_url, name)
        if resource is None and sub.type_url == EDS and not self._is_leaving(name):
            return empty_endpoints(name)
        return resource

    def _is_leaving(self, cluster: str) -> bool:
        """Whether the client has a cluster that does not exist any more."""
        clusters = self._types.get(CDS)
        return clusters is not None and cluster in clusters.sent and self._snapshot.get(CDS, cluster) is None

    # --- clusters of routes ---------------------------------------------------------------------------

    def _update_dependencies(self) -> None:
        """Set the cluster dependencies to those of the routes that are about to be sent."""
        for type_url in ROUTE_TYPES:
            sub = self._types.get(type_url)
            if sub is None or not sub.dirty:
                continue
            # All virtual hosts are compared: several names may lead to one host, and an alias may move.
            names = sub.names | sub.sent.keys() if type_url == VHDS else sub.dirty
            targets = [resource for name in names if (resource := self._target(sub, name))]
            clusters = {resource.name: required_clusters(sub, resource) for resource in targets}
            before = self._dependencies.referrers(VHDS) if type_url == VHDS else names
            for name in {*clusters, *before}:
                self._set_dependencies((type_url, name), clusters.get(name, ()))

    def _set_dependencies(self, key: ResourceKey, clusters: tuple[str, ...]) -> None:
        changed = self._dependencies.update(key, clusters)
        if CDS in self._types:
            self._types[CDS].dirty.update(changed)

    def _missing_clusters(self, sub: Subscription, resource: Resource) -> list[str]:
        """The clusters that a resource refers to and that are not ready."""
        clusters = self._types.get(CDS)
        if clusters is None or sub.type_url not in ROUTE_TYPES:
            return []
        return [name for name in resource.required_clusters if not self._is_ready(clusters, name)]

    def _is_ready(self, clusters: Subscription, name: str) -> bool:
        """Whether the client can send requests to this cluster; true also if the snapshot has no such one.

        A cluster without health checks is ready with its endpoints. One with health checks warms until each
        endpoint was checked once; Envoy ACKs clusters only when none of them is warming any more
        (`ClusterManagerImpl::updateClusterCounts` pauses CDS for this very purpose).
        """
        cluster = self._snapshot.get(CDS, name)
        if cluster is None:
            return True
        if self._snapshot.get(EDS, name) is None:
            return name in clusters.acked
        endpoints = self._types.get(EDS)
        if endpoints is None or name not in endpoints.acked:
            return False
        return name in clusters.acked or not is_checked(cluster)
