"""Routes of services: the table of all of them, and the history of one."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import NoParams, RequestParams, Route
from meshwright.control_plane.api.models.topology import ServiceHistory, ServiceList
from meshwright.control_plane.api.spiffe import NAME_PATTERN
from meshwright.control_plane.errors import NotFoundError


class ServiceParams(RequestParams):
    name: str = Field(pattern=f"^{NAME_PATTERN}$", description="The service or gateway.")


async def services(mesh: AdminContext, _params: NoParams, _body: object) -> ServiceList:
    """Every service by all calls to it, every gateway by all that it makes, with their last 15 minutes."""
    return mesh.services()


async def history(mesh: AdminContext, params: ServiceParams, _body: object) -> ServiceHistory:
    """The last quarter of an hour of all calls to a service, or from a gateway; no points without calls."""
    found = mesh.service_history(params.name)
    if found is None:
        raise NotFoundError(f"{params.name}: the mesh has no such service or gateway: see `mesh topology`")
    return found


ROUTES = (
    Route("GET", "/services", "services", "How every service does", services, ServiceList, read_only=True),
    Route(
        "GET", "/services/{name}/history", "service_history", "The history of a service", history,
        ServiceHistory, params=ServiceParams, errors=(404,), read_only=True,
    ),
)  # fmt: skip
