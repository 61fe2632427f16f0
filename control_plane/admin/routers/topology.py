"""Routes of the service graph, and of the history of one edge."""

from __future__ import annotations

from collections.abc import Callable

from pydantic import Field

from meshwright.control_plane.admin.route import NoBody, NoParams, RequestParams, Route
from meshwright.control_plane.api.cluster_names import NODE_PATTERN
from meshwright.control_plane.api.models.topology import EdgeHistory, Topology
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.errors import NotFoundError


class EdgeParams(RequestParams):
    caller: str = Field(pattern=f"^{NAME_PATTERN}$", description="The calling service or gateway.")
    callee: str = Field(pattern=f"^{NODE_PATTERN}$", description="The called node, such as `external/cards`.")


class TopologyRouter:
    """`/topology` and `/topology/{caller}/{callee}`."""

    def __init__(
        self, topology: Callable[[], Topology], edge_history: Callable[[str, str], EdgeHistory | None]
    ) -> None:
        self._topology = topology
        self._edge_history = edge_history

    def routes(self) -> tuple[Route, ...]:
        """Its routes."""
        return (
            Route("GET", "/topology", "topology", "Service graph", self.topology, Topology, read_only=True),
            Route(
                "GET", "/topology/{caller}/{callee}", "edge_history", "The history of an edge",
                self.edge_history, EdgeHistory, params=EdgeParams, errors=(404,), read_only=True,
            ),
        )  # fmt: skip

    async def topology(self, _params: NoParams, _body: NoBody) -> Topology:
        """Services and gateways, and the traffic between them within the last seconds."""
        return self._topology()

    async def edge_history(self, params: EdgeParams, _body: NoBody) -> EdgeHistory:
        """The last 15 minutes of requests from one service to another."""
        history = self._edge_history(params.caller, params.callee)
        if history is None:
            raise NotFoundError(
                f"no requests from {params.caller} to {params.callee} within the last 15 minutes"
            )
        return history
