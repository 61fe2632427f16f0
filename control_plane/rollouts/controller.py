"""Looks at every rollout every two seconds, and moves it on when its step is over or a guard fails.

Every control plane does so. A move is a revision that is made only if the rollout still stands where the
decision was taken, so it is made once, whoever comes first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator

from meshwright.control_plane.api.models.rollouts import BackendFigures, RolloutStatus
from meshwright.control_plane.core.world import World
from meshwright.control_plane.errors import MeshError
from meshwright.control_plane.policies.rollout.progress import RolloutProgress, progress_of
from meshwright.control_plane.policies.rollout.spec import Rollout
from meshwright.control_plane.rollouts.decision import Figures, Observation, next_progress, waits_for
from meshwright.control_plane.rollouts.figures import observe
from meshwright.control_plane.telemetry.topology.history_store import HistoryStore

INTERVAL = 2.0
"""Seconds: proxies report as often."""

Move = Callable[[str, RolloutProgress, RolloutProgress], Awaitable[None]]
"""Moves a rollout by name from one progress to the next, unless it stands elsewhere by now."""


class RolloutController:
    """Moves the rollouts of the world that is served."""

    def __init__(
        self,
        world: Callable[[], World],
        history: HistoryStore,
        move: Move,
        report: Callable[[str], None],
    ) -> None:
        """`report` gets what prevents a move, in words; empty when nothing does any more."""
        self._world = world
        self._history = history
        self._move = move
        self._report = report

    async def run(self) -> None:
        """Look at the rollouts until cancelled."""
        while True:
            await self.advance()
            await asyncio.sleep(INTERVAL)

    async def advance(self) -> None:
        """Make the moves that are due."""
        problem = ""
        for rollout in list(self._rollouts()):
            last, now = progress_of(rollout), time.time()
            moved = next_progress(rollout.spec, last, self._observe(rollout, now), now)
            if moved is None:
                continue
            try:
                await self._move(rollout.name, last, moved)
            except MeshError as error:
                problem = f"rollout {rollout.name} stays where it is: {error}"
        self._report(problem)

    def statuses(self) -> tuple[RolloutStatus, ...]:
        """Every rollout with its figures, by name."""
        return tuple(self._status(rollout) for rollout in self._rollouts())

    def _status(self, rollout: Rollout) -> RolloutStatus:
        spec, progress, now = rollout.spec, progress_of(rollout), time.time()
        seen = self._observe(rollout, now)
        return RolloutStatus(
            name=rollout.name,
            route=spec.route.ref,
            stable=f"{spec.stable.kind}/{spec.stable.name}",
            canary=f"{spec.canary.kind}/{spec.canary.name}",
            phase=progress.phase,
            step=progress.step,
            steps=len(spec.steps),
            weight=progress.weight(spec),
            mirror=progress.mirror(spec),
            since=progress.since,
            reason=progress.reason,
            waits_for=waits_for(spec, progress, seen, now),
            canary_figures=_shown(seen.canary),
            stable_figures=_shown(seen.stable),
        )

    def _observe(self, rollout: Rollout, now: float) -> Observation:
        progress = progress_of(rollout)
        return observe(self._world(), self._history, rollout.spec, progress, now=time.monotonic(), epoch=now)

    def _rollouts(self) -> Iterator[Rollout]:
        for document in self._world().documents:
            if isinstance(document.policy, Rollout):
                yield document.policy


def _shown(figures: Figures) -> BackendFigures:
    return BackendFigures(
        requests=round(figures.requests, 3),
        failures=round(figures.failures, 3),
        success_rate=round(figures.success_rate, 3),
        p99_ms=round(figures.p99, 3),
    )
