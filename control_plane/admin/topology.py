"""Routes of what is seen: the mesh as a graph, and the history of one edge."""

from __future__ import annotations

from pydantic import Field

from control_plane.admin.mesh import Mesh
from control_plane.admin.routes import NoParams, PathAndQuery, Route
from control_plane.api.seen import History, Topology
from control_plane.api.spiffe import NAME_PATTERN
from control_plane.errors import NotFoundError


class EdgeParams(PathAndQuery):
    caller: str = Field(pattern=f"^{NAME_PATTERN}$", description="The service or gateway that calls.")
    callee: str = Field(pattern=f"^{NAME_PATTERN}$", description="The service that is called.")


async def topology(mesh: Mesh, _params: NoParams, _body: object) -> Topology:
    """Services and gateways, and the calls between them over the last seconds."""
    return mesh.topology()


async def history(mesh: Mesh, params: EdgeParams, _body: object) -> History:
    """The last quarter of an hour of the calls from one service to another."""
    found = mesh.history(params.caller, params.callee)
    if found is None:
        raise NotFoundError(f"no calls from {params.caller} to {params.callee} within the last 15 minutes")
    return found


ROUTES = (
    Route("GET", "/topology", "topology", "The mesh as a graph", topology, Topology, shows=True),
    Route(
        "GET", "/topology/{caller}/{callee}", "edge_history", "The history of an edge", history, History,
        params=EdgeParams, errors=(404,), shows=True,
    ),
)  # fmt: skip
