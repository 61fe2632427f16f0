"""Turns the stored state into the published snapshot: store → World → Snapshot. The last good one stays.

The first change after a quiet time is processed at once, further ones within DEBOUNCE together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshwright.control_plane.core.assemble import Assembler, CanonicalPolicy
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.store.store import StoredState

DEBOUNCE = 0.05
"""Seconds: below what a person notices, above a burst of registrations."""

MAX_REFERENCES_SHOWN = 5
"""Dangling references that an error names."""


class ConfigReconciler:
    """Builds translations and publishes them. Not thread-safe: one `build` at a time."""

    def __init__(
        self,
        trust_domain: str,
        publish: Callable[[Snapshot], None],
        external_allowed: bool = True,
        patches_allowed: bool = True,
    ) -> None:
        self._assembler = Assembler(
            trust_domain, external_allowed=external_allowed, patches_allowed=patches_allowed
        )
        self._publish_snapshot = publish
        self._published: Translation | None = None
        self._failure = ""

    @property
    def translation(self) -> Translation | None:
        """The published translation; None before the first one."""
        return self._published

    @property
    def world(self) -> World:
        """The published world; an empty one before the first."""
        return self._published.world if self._published else World(0)

    def problems(self) -> tuple[str, ...]:
        """What failed while the last good configuration is being served."""
        published = self._published.snapshot.problems if self._published else ()
        return (*((self._failure,) if self._failure else ()), *self._assembler.problems, *published)

    def build(self, stored: StoredState) -> Translation | None:
        """Translate the stored state; None if that fails (see `problems`). Has no other side effect."""
        documents = (
            CanonicalPolicy(document.text, document.created, document.generation)
            for document in stored.revision.documents.values()
        )
        try:
            world = self._assembler.world(
                stored.revision.number,
                documents,
                stored.services,
                stored.registrations,
                stored.departures,
            )
            translation = translate(world, self._published)
        except Exception as error:
            self._fail(stored, f"{type(error).__name__}: {error}")
            return None
        dangling = translation.snapshot.dangling_references()
        if dangling:
            self._fail(stored, _shorten(dangling))
            return None
        return translation

    def publish(self, translation: Translation) -> None:
        """Publish a translation."""
        self._failure = ""
        self._published = translation
        self._publish_snapshot(translation.snapshot)

    def _fail(self, stored: StoredState, reason: str) -> None:
        self._failure = (
            f"revision {stored.revision.number} cannot be translated; the last good one is served: {reason}"
        )


def _shorten(references: Iterable[str]) -> str:
    lines = list(references)
    suffix = f" and {len(lines) - MAX_REFERENCES_SHOWN} more" if len(lines) > MAX_REFERENCES_SHOWN else ""
    return "; ".join(lines[:MAX_REFERENCES_SHOWN]) + suffix
