"""The mesh as it was, in place of the mesh as it is: what a dashboard shows after `[`."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from meshwright.control_plane.api.models.moments import PastMesh
from meshwright.tui.mesh_state import DashboardState, active_topology

Step = Literal["earlier", "later", "much-earlier", "much-later"]

BIG_STEP = 300.0
"""Seconds of a large step: a dozen of them are an hour."""


def as_of(state: DashboardState, past: PastMesh) -> DashboardState:
    """The state with what is known of a moment. Of proxies, instances and refusals nothing is known."""
    moment = past.moment
    status = state.status and state.status.model_copy(
        update={"revision": moment.revision, "verdict": moment.verdict, "push": None}
    )
    return replace(
        state,
        status=status,
        topology=active_topology(moment.topology),
        services=moment.services,
        instances=None,
        proxies=None,
        refusals=None,
        past=past,
    )


def next_time(past: PastMesh | None, step: Step, now: float) -> float | None:
    """The time of the moment to show after a step, in epoch seconds; None: the mesh as it is."""
    if past is None:
        if step in ("later", "much-later"):
            return None
        return now if step == "earlier" else now - BIG_STEP
    recorded = past.recorded
    if step == "earlier":
        return recorded.earlier or past.at
    if step == "later":
        return recorded.later or None
    time = past.moment.time + (BIG_STEP if step == "much-later" else -BIG_STEP)
    if time > recorded.newest:
        return None
    return max(time, recorded.oldest)
