"""Routes of the mesh as it stands: status, instances, proxies, waiting."""

from __future__ import annotations

from pydantic import Field

from meshwright.control_plane.admin import rollout_wait as waiting
from meshwright.control_plane.admin.auth import CALLER_RIGHTS
from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.route import NoParams, RequestParams, Route
from meshwright.control_plane.api.models.instances import InstanceList
from meshwright.control_plane.api.models.proxies import ProxyList, WaitResult
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.errors import NotFoundError


class WaitParams(RequestParams):
    revision: int = Field(ge=0, le=2**53)
    timeout: float = Field(30.0, ge=0, le=600, allow_inf_nan=False, description="Seconds to wait at most.")


async def status(mesh: AdminContext, _params: NoParams, _body: object) -> Status:
    """Revision, store, services, sidecars, the conditions of every policy, and what the caller may do."""
    return (await mesh.status()).model_copy(update={"rights": CALLER_RIGHTS.get()})


async def instances(mesh: AdminContext, _params: NoParams, _body: object) -> InstanceList:
    """Every instance with an unexpired lease."""
    return InstanceList(instances=tuple(mesh.instances()))


async def proxies(mesh: AdminContext, _params: NoParams, _body: object) -> ProxyList:
    """Every proxy: how far its configuration is, and what its sidecar told of it within the last seconds."""
    return ProxyList(proxies=tuple(mesh.proxies()))


async def wait(mesh: AdminContext, params: WaitParams, _body: object) -> WaitResult:
    """Answers when every connected sidecar has taken the revision, one has rejected it, or in time."""
    newest = (await mesh.revisions.current()).info.revision
    if params.revision > newest:
        raise NotFoundError(f"no such revision: {params.revision}: the newest is {newest}")
    return await waiting.wait_for_rollout(mesh, params.revision, params.timeout)


ROUTES = (
    Route("GET", "/status", "status", "The mesh as it stands", status, Status, read_only=True),
    Route("GET", "/instances", "instances", "Every instance", instances, InstanceList, read_only=True),
    Route("GET", "/proxies", "proxies", "Every proxy", proxies, ProxyList, read_only=True),
    Route(
        "GET", "/wait", "wait", "Until a revision stands in every connected sidecar", wait, WaitResult,
        params=WaitParams, errors=(404, 503), read_only=True,
    ),
)  # fmt: skip
