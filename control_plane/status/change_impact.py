"""What the proxies that a change affects carry at the moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from meshwright.control_plane.api.models.policies import ChangeImpact
from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.models.topology import Topology


def change_impact(
    affected: Iterable[tuple[str, str]], topology: Topology, reports: Iterable[ProxyReport] = ()
) -> ChangeImpact:
    """The impact on these proxies, (service or gateway, name), each edge of theirs counted once.

    `reports` are those of all proxies.
    """
    pairs = sorted(affected)
    services = {service for service, _ in pairs if service}
    open_streams = {(report.service, report.node): report.open_streams for report in reports}
    edges = [edge for edge in topology.edges if services & {edge.from_, edge.to}]
    return ChangeImpact(
        proxies=tuple(name for _, name in pairs),
        services=tuple(sorted(services)),
        rps=round(sum(edge.rps for edge in edges), 3),
        failures_per_s=round(sum(edge.rps * (1 - edge.success) for edge in edges), 3),
        window=topology.window,
        open_streams=sum(open_streams.get(pair, 0) for pair in pairs),
    )
