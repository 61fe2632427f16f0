"""What the topology screen fetches about its selection: recent history, and the policies in force."""

from __future__ import annotations

from dataclasses import dataclass, field

from meshwright.control_plane.api.models.policies import AttachedPolicy
from meshwright.tui.features.topology.detail_panel import RateHistory
from meshwright.tui.graph.graph import Link
from meshwright.tui.session import Session
from meshwright.tui.widgets.graph_view import GraphSelection


@dataclass(frozen=True, slots=True)
class SelectionDetails:
    """What was fetched for a selection; `policies`: those in force, None: not fetched yet."""

    selection: GraphSelection = field(default_factory=GraphSelection)
    history: RateHistory = field(default_factory=RateHistory)
    policies: tuple[AttachedPolicy, ...] | None = None


async def fetch_history(session: Session, service: str, link: Link | None) -> RateHistory:
    """The last 15 minutes of an edge, or without `link` of a service; empty if they cannot be fetched."""
    if link:
        edge = await session.call(lambda client: client.edge_history(*link), quiet=True)
        return RateHistory(edge.step, edge.points) if edge else RateHistory()
    node = await session.call(lambda client: client.service_history(service), quiet=True)
    return RateHistory(node.step, node.points) if node else RateHistory()


async def policies_in_force(
    session: Session, service: str, caller: str, *, quiet: bool = False
) -> tuple[AttachedPolicy, ...] | None:
    """The policies in force for a service and, unless empty, a caller; None if they cannot be fetched."""
    response = await session.call(lambda client: client.service_policies(service, caller), quiet=quiet)
    return tuple(policy for policy in response.policies if policy.in_force) if response else None
