"""How the versions of the mesh's parts differ. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.models.status import ControlPlaneStatus, VersionSkew
from meshwright.control_plane.api.version_skew import by_version, find_skews, versions_of_proxies


def version_skews(
    version: str, control_planes: Sequence[ControlPlaneStatus], reports: Iterable[ProxyReport]
) -> tuple[VersionSkew, ...]:
    """The skews of a mesh. `version` is that of this control plane, `control_planes` is empty if it is alone.

    What to do is left to `mesh version`, which sees more of the host where it is to be done.
    """
    planes = {plane.address: plane.version for plane in control_planes} or {"this mesh": version}
    rows = [(f"{report.service}/{report.node}", report.agent, report.version) for report in reports]
    skews = find_skews((*by_version("control plane", planes), *versions_of_proxies(rows)))
    return tuple(VersionSkew(supported=skew.supported, message=skew.difference) for skew in skews)
