"""Turns the stored state into the published snapshot: store → World → Snapshot. The last good one stays.

While a revision is on trial there are two: that of the revision in force, and that of the one on trial. Both
have the same services and instances.

The first change after a quiet time is processed at once, further ones within DEBOUNCE together.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from meshwright.control_plane.api.host_suffixes import DOMAINS, Domains
from meshwright.control_plane.api.models.push import NO_PUSH, PushReport
from meshwright.control_plane.core.assemble import Assembler, CanonicalPolicy
from meshwright.control_plane.core.snapshot import Snapshot
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.store.revisions import StoredRevision
from meshwright.control_plane.store.store import StoredState
from meshwright.control_plane.xds.push_queue import TrialSnapshot

DEBOUNCE = 0.05
"""Seconds: below what a person notices, above a burst of registrations."""

MAX_REFERENCES_SHOWN = 5
"""Dangling references that an error names."""


@dataclass(frozen=True, slots=True)
class Build:
    """What the stored state makes: the translation in force, and the one on trial.

    `push` says which proxies get the one on trial. `failure`: why that cannot be translated.
    """

    stable: Translation
    trial: Translation | None = None
    push: PushReport = NO_PUSH
    failure: str = ""

    @property
    def newest(self) -> Translation:
        """The translation of the newest revision that could be translated."""
        return self.trial or self.stable

    def changes_transport(self) -> bool:
        """Whether callers and callees of a service must get the revision on trial together: one side alone
        would send plain requests to proxies that demand mutual TLS."""
        before = self.stable.views.nodes
        after = self.trial.views.nodes if self.trial else {}
        return any(view.mode is not before[name].mode for name, view in after.items() if name in before)


class ConfigReconciler:
    """Builds translations and publishes them. Not thread-safe: one `build` at a time."""

    def __init__(
        self,
        trust_domain: str,
        publish: Callable[[Snapshot, TrialSnapshot | None], None],
        external_allowed: bool = True,
        patches_allowed: bool = True,
        domains: Domains = DOMAINS,
    ) -> None:
        def assembler() -> Assembler:
            return Assembler(
                trust_domain,
                external_allowed=external_allowed,
                patches_allowed=patches_allowed,
                domains=domains,
            )

        # One for each of the two revisions: what did not change keeps its identity.
        self._stable_assembler, self._trial_assembler = assembler(), assembler()
        self._publish_snapshot = publish
        self._published: Build | None = None
        self._failure = ""
        self.push_under_way = asyncio.Event()
        """Whether the newest revision is watched: it may be withdrawn."""

    @property
    def translation(self) -> Translation | None:
        """The published translation of the newest revision; None before the first one."""
        return self._published.newest if self._published else None

    @property
    def published(self) -> Build | None:
        """All that is published; None before the first."""
        return self._published

    @property
    def world(self) -> World:
        """The published world of the newest revision; an empty one before the first."""
        return self._published.newest.world if self._published else World(0)

    @property
    def worlds(self) -> tuple[World, ...]:
        """That of the revision on trial, if there is one, and that of the one in force."""
        build = self._published
        if build is None:
            return ()
        return (build.trial.world, build.stable.world) if build.trial else (build.stable.world,)

    def problems(self) -> tuple[str, ...]:
        """What failed while the last good configuration is being served."""
        published = self._published.stable.snapshot.problems if self._published else ()
        return (*((self._failure,) if self._failure else ()), *self._stable_assembler.problems, *published)

    def build(self, stored: StoredState) -> Build | None:
        """Translate the stored state; None if that fails (see `problems`). Has no other side effect."""
        in_force = stored.stable or stored.revision
        last, last_trial = self._last(in_force.number)
        stable = self._translate(self._stable_assembler, stored, in_force, last)
        if isinstance(stable, str):
            self._failure = stable
            return None
        if stored.stable is None:
            return Build(stable, push=stored.push)
        trial = self._translate(self._trial_assembler, stored, stored.revision, last_trial or stable)
        if isinstance(trial, str):
            return Build(stable, push=stored.push, failure=trial)
        return Build(stable, trial, stored.push)

    def _last(self, in_force: int) -> tuple[Translation | None, Translation | None]:
        """What the last build made of the revision in force and of the one on trial, for reuse."""
        last = self._published
        if last is None:
            return None, None
        if last.trial is None or last.trial.world.revision != in_force:
            return last.stable, last.trial
        # The push has ended: what was on trial is in force.
        self._stable_assembler, self._trial_assembler = self._trial_assembler, self._stable_assembler
        return last.trial, None

    def publish(self, build: Build) -> None:
        """Publish a build."""
        self._failure = build.failure
        self._published = build
        admitted = frozenset(build.push.push.admitted if build.push.push else ())
        trial = TrialSnapshot(build.trial.snapshot, admitted) if build.trial else None
        self._publish_snapshot(build.stable.snapshot, trial)
        if build.push.is_under_way:
            self.push_under_way.set()
        else:
            self.push_under_way.clear()

    def _translate(
        self, assembler: Assembler, stored: StoredState, revision: StoredRevision, last: Translation | None
    ) -> Translation | str:
        """The translation of a revision with the stored services, or why there is none."""
        documents = (
            CanonicalPolicy(document.text, document.created, document.generation)
            for document in revision.documents.values()
        )
        try:
            world = assembler.world(
                revision.number, documents, stored.services, stored.registrations, stored.departures
            )
            translation = translate(world, last)
        except Exception as error:
            return _failure(revision.number, f"{type(error).__name__}: {error}")
        dangling = translation.snapshot.dangling_references()
        return _failure(revision.number, _shorten(dangling)) if dangling else translation


def _failure(revision: int, reason: str) -> str:
    return f"revision {revision} cannot be translated; the last good one is served: {reason}"


def _shorten(references: Iterable[str]) -> str:
    lines = list(references)
    suffix = f" and {len(lines) - MAX_REFERENCES_SHOWN} more" if len(lines) > MAX_REFERENCES_SHOWN else ""
    return "; ".join(lines[:MAX_REFERENCES_SHOWN]) + suffix
