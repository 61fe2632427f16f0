"""What clients get to see, as the JSON objects of Consul's API."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.software_version import VERSION
from meshwright.sidecar.consul.endpoints import DATACENTER
from meshwright.sidecar.consul.filters import any_key
from meshwright.sidecar.consul.model import PORT_LABEL, TAG_LABEL, CheckStatus
from meshwright.sidecar.consul.registry import Registered

SAMPLE = InstanceStatus(name="", service="", address="")
"""For entries with every field of an answer."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Node:
    """The host of the agent, as clients see it."""

    name: str
    address: str = "127.0.0.1"

    @property
    def server(self) -> str:
        """This node as a Consul server."""
        return f"{self.address}:8300"

    def to_json(self) -> Json:
        """As in a health answer."""
        return {
            "Node": self.name,
            "Address": self.address,
            "Datacenter": DATACENTER,
            "TaggedAddresses": {"lan": self.address},
            "Meta": {},
        }


def agent_self(node: Node) -> Json:
    """`/v1/agent/self`."""
    config = {"Datacenter": DATACENTER, "NodeName": node.name, "Server": False, "Version": VERSION}
    return {"Config": config, "Member": member(node), "Meta": {"mesh": "meshwright"}}


def member(node: Node) -> Json:
    """This agent as a member of the cluster."""
    return {
        "Name": node.name,
        "Addr": node.address,
        "Status": 1,
        "Tags": {"dc": DATACENTER, "role": "node"},
    }


def agent_service(service: Registered) -> Json:
    """A service of this agent, with the address where its application listens."""
    definition = service.definition
    return {
        "ID": definition.id,
        "Service": definition.name,
        "Tags": list(definition.tags),
        "Meta": definition.meta,
        "Port": definition.port,
        "Address": definition.address,
        "EnableTagOverride": False,
        "Weights": {"Passing": 1, "Warning": 1},
        "Datacenter": DATACENTER,
    }


def tags_of(instances: Iterable[InstanceStatus]) -> list[str]:
    """The tags with which instances registered."""
    labels = {label for instance in instances for label in instance.labels}
    return sorted(label.removeprefix(TAG_LABEL) for label in labels if label.startswith(TAG_LABEL))


def has_tags(instance: InstanceStatus, tags: Iterable[str]) -> bool:
    """Whether an instance registered with all of these tags, in upper or lower case, as in Consul."""
    return {tag.lower() for tag in tags} <= {tag.lower() for tag in tags_of([instance])}


def port_of(instances: Iterable[InstanceStatus]) -> int:
    """The port that an instance registered; 0 if none registered one here."""
    ports = (instance.labels.get(PORT_LABEL, "") for instance in instances)
    return next((int(port) for port in ports if port.isdecimal() and 0 < int(port) < 65536), 0)


def tcp_port_of(instances: Iterable[InstanceStatus]) -> int:
    """The number of the first tcp port of a service that speaks nothing else; 0: it has none."""
    ports = [port for instance in instances for port in instance.ports]
    if any(port.protocol != "tcp" for port in ports):
        return 0
    return next((port.number for port in ports if port.number), 0)


def status_of(instance: InstanceStatus) -> CheckStatus:
    """An instance that drains or is unhealthy gets no calls."""
    return "passing" if instance.health == "healthy" else "critical"


def mesh_check(instance: InstanceStatus, node: Node, id: str) -> Json:
    """The health of an instance in the mesh, as a check. `id` is that of the instance."""
    return {
        "Node": node.name,
        "CheckID": f"service:{id}",
        "Name": "Health in the mesh",
        "Status": status_of(instance),
        "Notes": "",
        "Output": instance.reason or instance.health,
        "ServiceID": id,
        "ServiceName": instance.service,
        "ServiceTags": tags_of([instance]),
    }


def health_entry(instance: InstanceStatus, node: Node, address: tuple[str, int], id: str) -> Json:
    """An entry of `/v1/health/service/NAME`; `address` leads to the service through a sidecar here."""
    return {
        "Node": node.to_json(),
        "Service": {
            "ID": id,
            "Service": instance.service,
            "Tags": tags_of([instance]),
            "Address": address[0],
            "Port": address[1],
            "Meta": _meta(instance),
            "Weights": {"Passing": 1, "Warning": 1},
            "EnableTagOverride": False,
        },
        "Checks": [mesh_check(instance, node, id)],
    }


def catalog_entry(instance: InstanceStatus, node: Node, address: tuple[str, int], id: str) -> Json:
    """An entry of `/v1/catalog/service/NAME`."""
    return {
        **node.to_json(),
        "NodeMeta": {},
        "ServiceID": id,
        "ServiceName": instance.service,
        "ServiceTags": tags_of([instance]),
        "ServiceAddress": address[0],
        "ServicePort": address[1],
        "ServiceMeta": _meta(instance),
        "ServiceEnableTagOverride": False,
    }


SAMPLE_SERVICE: Json = {
    "ID": "",
    "Service": "",
    "Tags": [],
    "Meta": any_key(),
    "Port": 0,
    "Address": "",
    "EnableTagOverride": False,
    "Weights": {"Passing": 1, "Warning": 1},
    "Datacenter": "",
}
SAMPLE_CHECK: Json = {
    **mesh_check(SAMPLE, Node(""), ""),
    "Type": "",
}
"""Entries of `/v1/agent/services` and `/v1/agent/checks` with every field."""


def _meta(instance: InstanceStatus) -> dict[str, str]:
    if instance is SAMPLE:
        return any_key()
    return {key: value for key, value in instance.labels.items() if "consul.meshwright.io/" not in key}
