"""Which clusters a stream's routes need: those are sent to it before the routes, unasked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

ResourceKey = tuple[str, str]
"""(type URL, resource name)."""


class ClusterDependencies:
    """Clusters by the resources that need them. `clusters` counts for each cluster who does."""

    def __init__(self) -> None:
        self._by_resource: dict[ResourceKey, tuple[str, ...]] = {}
        self.reference_counts: Counter[str] = Counter()

    def referrers(self, type_url: str) -> list[str]:
        """The resources of a type that need anything."""
        return [name for kind, name in self._by_resource if kind == type_url]

    def update(self, key: ResourceKey, clusters: tuple[str, ...]) -> Iterable[str]:
        """A resource needs these clusters now (none: it is gone); those for which that is a change."""
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
