"""How the topology screen groups services: by what, and which groups are expanded. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.topology import Topology
from meshwright.tui.graph.groups import GroupedTopology, group_topology, groupings

NO_GROUPS = "each service alone"
"""The choice that ends grouping."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """`by`: the choice, empty: no grouping. `group_of`: each service's group. `expanded`: groups by name."""

    by: str = ""
    group_of: Mapping[str, str] = field(default_factory=dict)
    expanded: frozenset[str] = frozenset()

    def apply(self, topology: Topology) -> GroupedTopology:
        """The topology with its groups."""
        if not self.by:
            return GroupedTopology(topology)
        return group_topology(topology, self.group_of, self.expanded)

    def updated(self, topology: Topology, instances: Iterable[InstanceStatus] | None) -> Grouping:
        """With the services and labels there are now; None: the labels are unknown, nothing changes."""
        if not self.by or instances is None:
            return self
        return replace(self, group_of=choices(topology, instances).get(self.by, self.group_of))


def choices(topology: Topology, instances: Iterable[InstanceStatus]) -> dict[str, dict[str, str]]:
    """By what the services of a topology can be grouped."""
    names = (node.name for node in topology.nodes if node.role == "service")
    return groupings(names, ((each.service, each.labels) for each in instances))
