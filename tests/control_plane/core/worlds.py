"""Small worlds for tests: services, documents from YAML, and what a snapshot of them holds."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf.message import Message
from ruamel.yaml import YAML

from meshwright.control_plane.api.models.instances import InstanceHealth, Port
from meshwright.control_plane.core.assemble import parse_policy
from meshwright.control_plane.core.resource import Resource
from meshwright.control_plane.core.world import Instance, PolicyDocument, Service, World
from meshwright.control_plane.envoy import codec, v3

HTTP = Port()
GRPC = Port(name="grpc", protocol="grpc", number=9090)
TCP = Port(name="tcp", protocol="tcp", number=5432)


def instance(name: str, port: int = 1000, health: InstanceHealth = "healthy", **labels: str) -> Instance:
    """An instance on loopback."""
    return Instance(name, "127.0.0.1", port, tuple(sorted(labels.items())), health)


def service(name: str, *instances: Instance, ports: tuple[Port, ...] = (HTTP,)) -> Service:
    """A service, by default with one instance."""
    return Service(name, ports, instances or (instance(f"{name}-1"),))


def documents(text: str, created: int = 0) -> tuple[PolicyDocument, ...]:
    """The documents of a YAML text, all equally old."""
    bodies = YAML(typ="safe").load_all(text)
    return tuple(PolicyDocument(parse_policy(json.dumps(body)), created) for body in bodies if body)


def world(*services: Service, policy_documents: tuple[PolicyDocument, ...] = (), revision: int = 1) -> World:
    """A world of these services and documents, sorted as the assembler sorts them."""
    ordered = tuple(sorted(policy_documents, key=lambda policy_document: policy_document.ref))
    return World(
        revision,
        {
            current_service.name: current_service
            for current_service in sorted(services, key=lambda item: item.name)
        },
        ordered,
    )


def exchange(text: str = "", *more: Service) -> World:
    """The small world of most tests: three services, inventory in two versions, plus `more`."""
    return world(
        service("catalog"),
        service(
            "inventory", instance("inventory-1", 1, version="v1"), instance("inventory-2", 2, version="v2")
        ),
        service("orders", ports=(HTTP, GRPC)),
        *more,
        policy_documents=documents(text),
    )


def body(resource: Resource) -> Any:
    """The Envoy message in a resource."""
    packed = v3.DeltaDiscoveryResponse.FromString(resource.wire).resources[0].resource
    message: Message = codec.decode(packed.type_url, packed.value)
    return message


def mesh(kind: str, name: str, spec: str, target: str = "{kind: Mesh}") -> str:
    """A policy document of the mesh's own kinds, as YAML, for one target."""
    return (
        f"---\napiVersion: meshwright.io/v1\nkind: {kind}\nmetadata: {{name: {name}}}\n"
        f"spec: {{targetRefs: [{target}], {spec}}}\n"
    )


def route(name: str, rules: str, parent: str = "{kind: Service, name: inventory}", more: str = "") -> str:
    """An HTTPRoute as YAML."""
    return (
        f"---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: {name}}}\n"
        f"spec: {{parentRefs: [{parent}], {more} rules: [{rules}]}}\n"
    )


def subset(name: str, of: str = "inventory", version: str = "v2") -> str:
    """A Subset by version, as YAML."""
    return (
        f"---\napiVersion: meshwright.io/v1\nkind: Subset\nmetadata: {{name: {name}}}\n"
        f"spec: {{service: {of}, labels: {{version: {version}}}}}\n"
    )
