"""From the store to the newest snapshot: read, assemble, translate, publish; the last good one stays.

The first change after quiet is taken at once; what follows within the debounce is taken together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from meshwright.control_plane.core.assemble import Assembler, CanonicalPolicy
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import World

if TYPE_CHECKING:
    from meshwright.control_plane.store.store import StoredState

DEBOUNCE = 0.05
"""Seconds for which changes are gathered: below what a person notices, above a burst of registrations."""


class ConfigReconciler:
    """Turns what is stored into what is served. Not thread-safe: one `take` at a time."""

    def __init__(self, trust_domain: str, publish: Callable[[Snapshot], None]) -> None:
        self._assembler = Assembler(trust_domain)
        self._publish_snapshot = publish
        self._published: Translation | None = None
        self._failure = ""

    @property
    def translation(self) -> Translation | None:
        """What is being served; None before the first."""
        return self._published

    @property
    def world(self) -> World:
        """The world that is being served; an empty one before the first."""
        return self._published.world if self._published else World(0)

    def problems(self) -> tuple[str, ...]:
        """What failed inside while the last good configuration is being served."""
        served = self._published.snapshot.problems if self._published else ()
        return (*((self._failure,) if self._failure else ()), *self._assembler.problems, *served)

    def build(self, stored: StoredState) -> Translation | None:
        """Translate what is stored; None when that fails, which `problems` then tells. Pure but for that."""
        documents = (CanonicalPolicy(one.text, one.created) for one in stored.revision.documents.values())
        try:
            world = self._assembler.world(
                stored.revision.number, documents, stored.services, stored.registrations
            )
            translation = translate(world, self._published)
        except Exception as error:
            self._fail(stored, f"{type(error).__name__}: {error}")
            return None
        unresolved = translation.snapshot.dangling_references()
        if unresolved:
            self._fail(stored, _some(unresolved))
            return None
        return translation

    def publish(self, translation: Translation) -> None:
        """Publish a translation."""
        self._failure = ""
        self._published = translation
        self._publish_snapshot(translation.snapshot)

    def _fail(self, stored: StoredState, why: str) -> None:
        self._failure = (
            f"revision {stored.revision.number} cannot be translated, the last good one is served: {why}"
        )


def _some(lines: Iterable[str], most: int = 5) -> str:
    found = list(lines)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return "; ".join(found[:most]) + more
