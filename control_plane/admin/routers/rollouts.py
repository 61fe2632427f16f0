"""Routes: where rollouts stand, and steering them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from meshwright.control_plane.admin.protocols import Clock
from meshwright.control_plane.admin.rollout_editor import RolloutEditor
from meshwright.control_plane.admin.route import NoBody, NoParams, RequestParams, Route
from meshwright.control_plane.api.models.policies import ApplyResponse
from meshwright.control_plane.api.models.rollouts import RolloutList, RolloutStatus, SteerRequest
from meshwright.control_plane.policies.rollout.progress import RolloutProgress, progress_of
from meshwright.control_plane.policies.rollout.spec import Rollout
from meshwright.control_plane.rollouts.decision import steered


class RolloutParams(RequestParams):
    name: str


class RolloutsRouter:
    """`/rollouts`."""

    def __init__(
        self, statuses: Callable[[], Iterable[RolloutStatus]], editor: RolloutEditor, now: Clock
    ) -> None:
        """`now`: seconds since the epoch."""
        self._statuses = statuses
        self._editor = editor
        self._now = now

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route(
                "GET", "/rollouts", "rollouts", "Every rollout", self.list, RolloutList, read_only=True,
            ),
            Route(
                "POST", "/rollouts/{name}", "steer_rollout", "Steer a rollout", self.steer, ApplyResponse,
                params=RolloutParams, body=SteerRequest, errors=(404, 409, 422, 503), computes=True,
            ),
        )  # fmt: skip

    async def list(self, _params: NoParams, _body: NoBody) -> RolloutList:
        """Every rollout: its step, its figures, what it waits for."""
        return RolloutList(rollouts=tuple(self._statuses()))

    async def steer(self, params: RolloutParams, body: SteerRequest) -> ApplyResponse:
        """Promote a rollout to its next step or fully, pause, resume, abort or restart it: a new revision."""

        def decide(rollout: Rollout) -> RolloutProgress:
            return steered(rollout.spec, progress_of(rollout), body.action, self._now())

        message = body.message or f"rollout {params.name}: {body.action}"
        return await self._editor.update(params.name, body.model_copy(update={"message": message}), decide)
