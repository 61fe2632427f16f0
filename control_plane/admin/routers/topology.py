"""Routes of what is seen: the mesh as a graph, and the history of one edge."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import NoParams, RequestParams, Route
from meshwright.control_plane.api.models.topology import EdgeHistory, Topology
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.errors import NotFoundError


class EdgeParams(RequestParams):
    caller: str = Field(pattern=f"^{NAME_PATTERN}$", description="The service or gateway that calls.")
    callee: str = Field(pattern=f"^{NAME_PATTERN}$", description="The service that is called.")


async def topology(mesh: AdminContext, _params: NoParams, _body: object) -> Topology:
    """Services and gateways, and the calls between them over the last seconds."""
    return mesh.topology()


async def history(mesh: AdminContext, params: EdgeParams, _body: object) -> EdgeHistory:
    """The last quarter of an hour of the calls from one service to another."""
    found = mesh.history(params.caller, params.callee)
    if found is None:
        raise NotFoundError(f"no calls from {params.caller} to {params.callee} within the last 15 minutes")
    return found


ROUTES = (
    Route("GET", "/topology", "topology", "The mesh as a graph", topology, Topology, read_only=True),
    Route(
        "GET", "/topology/{caller}/{callee}", "edge_history", "The history of an edge", history, EdgeHistory,
        params=EdgeParams, errors=(404,), read_only=True,
    ),
)  # fmt: skip
