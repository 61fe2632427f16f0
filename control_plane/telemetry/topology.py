"""From what sidecars told to the picture: services as nodes, calls between them as edges. Pure."""

from __future__ import annotations

from control_plane.api.seen import Edge, Share, Topology
from control_plane.api.types import Breaker
from control_plane.telemetry.edges import Edges, Sum
from control_plane.telemetry.flows import WINDOW
from control_plane.telemetry.verdict import Setting, nodes


def picture(edges: Edges, setting: Setting) -> Topology:
    """The mesh as a graph."""
    breakers = {(one.from_, one.to): one for one in setting.breakers}
    drawn = (_edge(key, total, breakers.get(key), setting) for key, total in sorted(edges.sums.items()))
    return Topology(window=WINDOW, nodes=tuple(nodes(edges, setting)), edges=tuple(drawn))


def _edge(key: tuple[str, str], total: Sum, breaker: Breaker | None, setting: Setting) -> Edge:
    p50, p95, p99 = total.latencies()
    return Edge(
        from_=key[0],
        to=key[1],
        protocol=max(total.rates, key=lambda one: total.rates[one]),
        rps=total.rate,
        success=total.success,
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        retries_per_s=round(total.retries, 3),
        breaker=breaker.state if breaker else "closed",
        ejected=breaker.ejected if breaker else total.ejected,
        mtls=total.is_mutual(key[1] not in setting.plaintext),
        versions=tuple(_share(name, one) for name, one in sorted(total.versions.items())),
    )


def _share(version: str, total: Sum) -> Share:
    return Share(version=version, rps=total.rate, success=total.success, p99_ms=total.latencies()[2])
