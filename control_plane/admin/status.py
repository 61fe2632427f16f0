"""Routes of the mesh as it stands: status, instances, proxies, waiting."""

from __future__ import annotations

from pydantic import Field

from control_plane.admin import wait as waiting
from control_plane.admin.caller import RIGHTS
from control_plane.admin.mesh import Mesh
from control_plane.admin.routes import NoParams, PathAndQuery, Route
from control_plane.api.messages import Instances, Proxies, WaitReply
from control_plane.api.types import Status
from control_plane.errors import NotFoundError


class WaitParams(PathAndQuery):
    revision: int = Field(ge=0, le=2**53)
    timeout: float = Field(30.0, ge=0, le=600, allow_inf_nan=False, description="Seconds to wait at most.")


async def status(mesh: Mesh, _params: NoParams, _body: object) -> Status:
    """Revision, store, services, sidecars, the conditions of every policy, and what the caller may do."""
    return (await mesh.status()).model_copy(update={"rights": RIGHTS.get()})


async def instances(mesh: Mesh, _params: NoParams, _body: object) -> Instances:
    """Every instance with an unexpired lease."""
    return Instances(instances=tuple(mesh.instances()))


async def proxies(mesh: Mesh, _params: NoParams, _body: object) -> Proxies:
    """Every proxy: how far its configuration is, and what its sidecar told of it within the last seconds."""
    return Proxies(proxies=tuple(mesh.proxies()))


async def wait(mesh: Mesh, params: WaitParams, _body: object) -> WaitReply:
    """Answers when every connected sidecar has taken the revision, one has rejected it, or in time."""
    newest = (await mesh.revisions.current()).info.revision
    if params.revision > newest:
        raise NotFoundError(f"no such revision: {params.revision}: the newest is {newest}")
    return await waiting.wait(mesh, params.revision, params.timeout)


ROUTES = (
    Route("GET", "/status", "status", "The mesh as it stands", status, Status, shows=True),
    Route("GET", "/instances", "instances", "Every instance", instances, Instances, shows=True),
    Route("GET", "/proxies", "proxies", "Every proxy", proxies, Proxies, shows=True),
    Route(
        "GET", "/wait", "wait", "Until a revision stands in every connected sidecar", wait, WaitReply,
        params=WaitParams, errors=(404, 503), shows=True,
    ),
)  # fmt: skip
