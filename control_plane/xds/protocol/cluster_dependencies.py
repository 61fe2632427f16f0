"""The clusters that a stream's routes depend on. They are pushed before the routes, unrequested."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

ResourceKey = tuple[str, str]
"""(type URL, resource name)."""


class ClusterDependencies:
    """Clusters by the resource that refers to them; `reference_counts` has the referrers of each cluster."""

    def __init__(self) -> None:
        self._by_resource: dict[ResourceKey, tuple[str, ...]] = {}
        self.reference_counts: Counter[str] = Counter()

    def referrers(self, type_url: str) -> list[str]:
        """Names of the resources of a type that depend on any cluster."""
        return [name for resource_type, name in self._by_resource if resource_type == type_url]

    def update(self, key: ResourceKey, clusters: tuple[str, ...]) -> Iterable[str]:
        """Set the clusters of a resource (none once it is gone); returns the clusters added or removed."""
        before = self._by_resource.get(key, ())
        if clusters == before:
            return ()
        self.reference_counts.update(clusters)
        self.reference_counts.subtract(before)
        for name in before:
            if not self.reference_counts[name]:
                del self.reference_counts[name]
        if clusters:
            self._by_resource[key] = clusters
        else:
            del self._by_resource[key]
        return set(clusters) ^ set(before)
