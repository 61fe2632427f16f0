"""A topology in which services that belong together are one node, with the sum of their traffic. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from meshwright.control_plane.api.models.topology import NodeHealth, Topology, TopologyEdge, TopologyNode
from meshwright.tui.graph.cards import BREAKER_ORDER
from meshwright.tui.graph.graph import Link
from meshwright.tui.graph.versions import service_of

HEALTH_ORDER: tuple[NodeHealth, ...] = ("idle", "unknown", "healthy", "degraded", "unhealthy")
"""The worst last."""

NAME_PREFIX = "beginning of the name"
"""The choice that groups services by what is before the first hyphen of their names."""

Labelled = Iterable[tuple[str, Mapping[str, str]]]
"""Services, each with the labels of one of its instances."""


@dataclass(frozen=True, slots=True)
class GroupedTopology:
    """`groups`: for each node that stands for a group, the group's name. `members`: its services."""

    topology: Topology
    groups: Mapping[str, str] = field(default_factory=dict)
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def groupings(names: Iterable[str], labelled: Labelled) -> dict[str, dict[str, str]]:
    """By what services can be grouped: for each choice the group of each service.

    A label counts for a service if all of its instances have the same value of it. Choices that would
    leave every service alone, or put all into one group, are left out.
    """
    names = sorted(names)
    values: dict[str, dict[str, set[str]]] = {}
    for service, labels in labelled:
        for key, value in labels.items():
            values.setdefault(key, {}).setdefault(service, set()).add(value)
    choices = {
        key: {service: next(iter(each)) for service, each in services.items() if len(each) == 1}
        for key, services in sorted(values.items())
    }
    choices[NAME_PREFIX] = {name: name.partition("-")[0] for name in names if "-" in name}
    return {key: groups for key, groups in choices.items() if _is_useful(groups, names)}


def _is_useful(groups: Mapping[str, str], names: Sequence[str]) -> bool:
    sizes: dict[str, int] = {}
    for name in names:
        if name in groups:
            sizes[groups[name]] = sizes.get(groups[name], 0) + 1
    return any(1 < size < len(names) for size in sizes.values())


def group_topology(
    topology: Topology, group_of: Mapping[str, str], expanded: frozenset[str] = frozenset()
) -> GroupedTopology:
    """The topology with one node for each group of two services or more, except those that are expanded.

    Calls within a group are not shown.
    """
    members: dict[str, list[TopologyNode]] = {}
    for node in topology.nodes:
        group = group_of.get(service_of(node.name), "")
        if node.role == "service" and group and group not in expanded:
            members.setdefault(group, []).append(node)
    merged = {group: nodes for group, nodes in members.items() if len(nodes) > 1}
    names = {node.name: _group_name(group, nodes) for group, nodes in merged.items() for node in nodes}
    calls: dict[Link, list[TopologyEdge]] = {}
    for edge in topology.edges:
        link = names.get(edge.from_, edge.from_), names.get(edge.to, edge.to)
        if link[0] != link[1] or (edge.from_ == edge.to and edge.from_ not in names):
            calls.setdefault(link, []).append(edge)
    nodes = [node for node in topology.nodes if node.name not in names]
    nodes += [_merge_nodes(_group_name(group, each), each) for group, each in merged.items()]
    edges = tuple(_merge_edges(link, each) for link, each in calls.items())
    return GroupedTopology(
        topology.model_copy(update={"nodes": tuple(nodes), "edges": edges}),
        {_group_name(group, each): group for group, each in merged.items()},
        {
            _group_name(group, each): tuple(sorted({service_of(node.name) for node in each}))
            for group, each in merged.items()
        },
    )


def _group_name(group: str, members: Sequence[TopologyNode]) -> str:
    """A name that no service can have: it says how many there are."""
    return f"{group} ({len(members)})"


def _merge_nodes(name: str, members: Sequence[TopologyNode]) -> TopologyNode:
    return TopologyNode(
        name=name,
        health=max((node.health for node in members), key=HEALTH_ORDER.index),
        instances=sum(node.instances for node in members),
        healthy=sum(node.healthy for node in members),
    )


def _merge_edges(link: Link, edges: Sequence[TopologyEdge]) -> TopologyEdge:
    """The sum of some calls, and their worst states. Percentiles cannot be added up: the highest p99."""
    if len(edges) == 1 and (edges[0].from_, edges[0].to) == link:
        return edges[0]
    rate = sum(edge.rps for edge in edges)
    busiest = max(edges, key=lambda edge: edge.rps)
    return busiest.model_copy(
        update={
            "from_": link[0],
            "to": link[1],
            "health": max((edge.health for edge in edges), key=HEALTH_ORDER.index),
            "rps": rate,
            "success": sum(edge.rps * edge.success for edge in edges) / rate if rate else 1.0,
            "p50_ms": busiest.p50_ms if len(edges) == 1 else 0.0,
            "p95_ms": busiest.p95_ms if len(edges) == 1 else 0.0,
            "p99_ms": max(edge.p99_ms for edge in edges),
            "retries_per_s": sum(edge.retries_per_s for edge in edges),
            "refused_per_s": sum(edge.refused_per_s for edge in edges),
            "breaker": max((edge.breaker for edge in edges), key=BREAKER_ORDER.index),
            "ejected": sum(edge.ejected for edge in edges),
            "mtls": all(edge.mtls for edge in edges),
            "versions": (),
        }
    )
