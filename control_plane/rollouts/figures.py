"""What proxies reported about the two backends of a rollout, from the histories of the calls to them."""

from __future__ import annotations

from collections.abc import Iterable

from meshwright.control_plane.core.backends import BackendResolver
from meshwright.control_plane.core.world import World
from meshwright.control_plane.policies.externalservice.spec import ExternalService
from meshwright.control_plane.policies.httproute.backends import BackendObjectReference
from meshwright.control_plane.policies.rollout.progress import RolloutProgress
from meshwright.control_plane.policies.rollout.spec import RolloutSpec
from meshwright.control_plane.policies.subset.spec import Subset
from meshwright.control_plane.rollouts.decision import Figures, Observation
from meshwright.control_plane.telemetry.topology.history_store import HistoryStore

DEFAULT_WINDOW = 60.0
"""Seconds that are shown for a rollout without guards."""


def observe(
    world: World,
    history: HistoryStore,
    spec: RolloutSpec,
    progress: RolloutProgress,
    *,
    now: float,
    epoch: float,
) -> Observation:
    """The calls to both backends in the step. `now` by the history's clock, `epoch` by that of `progress`."""
    in_step = max(epoch - progress.since, 0.0)
    window = spec.guards.window.total_seconds() if spec.guards else DEFAULT_WINDOW
    backends = _backend_resolver(world)

    def figures(ref: BackendObjectReference, seconds: float) -> Figures:
        grpc = spec.route.kind == "GRPCRoute"
        cluster = backends.http_cluster(world.services, ref, grpc=grpc).cluster
        return _sum(history, cluster, now - seconds, now) if cluster else Figures()

    recent = min(window, in_step)
    return Observation(
        figures(spec.canary, recent), figures(spec.stable, recent), figures(spec.canary, in_step).requests
    )


def _backend_resolver(world: World) -> BackendResolver:
    policies = [document.policy for document in world.documents]
    return BackendResolver(
        {policy.name: policy for policy in policies if isinstance(policy, Subset)},
        {policy.name: policy for policy in policies if isinstance(policy, ExternalService)},
    )


def _sum(history: HistoryStore, cluster: str, begin: float, now: float) -> Figures:
    """All callers together. The latency is the mean of each point's percentile, weighted by its requests."""
    points = [
        values
        for _, name, series in history.all_edges()
        if name == cluster
        for start, values in series.points(now)
        if start >= begin
    ]
    requests = _total(points, "completed")
    weighted = sum(values["p99"] * values["completed"] for values in points)
    return Figures(requests, _total(points, "failed"), weighted / requests if requests else 0.0)


def _total(points: Iterable[dict[str, float]], column: str) -> float:
    return sum(values[column] for values in points)
