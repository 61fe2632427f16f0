"""Which clusters a stream's routes need: those are sent to it before the routes, unasked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

Key = tuple[str, str]
"""(type URL, resource name)."""


class Needs:
    """Clusters by the resources that need them. `clusters` counts for each cluster who does."""

    def __init__(self) -> None:
        self._of: dict[Key, tuple[str, ...]] = {}
        self.clusters: Counter[str] = Counter()

    def names(self, type_url: str) -> list[str]:
        """The resources of a type that need anything."""
        return [name for kind, name in self._of if kind == type_url]

    def note(self, key: Key, clusters: tuple[str, ...]) -> Iterable[str]:
        """A resource needs these clusters now (none: it is gone); those for which that is a change."""
        before = self._of.get(key, ())
        if clusters == before:
            return ()
        self.clusters.update(clusters)
        self.clusters.subtract(before)
        for name in before:
            if not self.clusters[name]:
                del self.clusters[name]
        if clusters:
            self._of[key] = clusters
        else:
            del self._of[key]
        return set(clusters) ^ set(before)
