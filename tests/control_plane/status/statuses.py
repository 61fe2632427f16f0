"""Statuses and warnings of documents in the small exchange with a TCP service."""

from __future__ import annotations

from meshwright.control_plane.api.models.policies import Condition, PolicyStatus
from meshwright.control_plane.core.world import World
from meshwright.control_plane.status.conditions import policy_statuses, reference_warnings
from meshwright.control_plane.status.references import BoundPort, GatewayPorts
from tests.control_plane.core.worlds import TCP, exchange, route, service

INGRESS = "name: ingress"
ORDERS = "{backendRefs: [{name: orders}]}"
GATEWAY = """---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ingress}
spec: {listeners: [%s]}
"""
LISTENER = "name: http, port: 8080, protocol: HTTP"
SHOP = GATEWAY % f'{{{LISTENER}, hostname: "*.shop.test"}}'
CONNECTED: GatewayPorts = {"ingress": {"http": BoundPort(8080)}, "inner": {"http": BoundPort(9000)}}


def world(text: str) -> World:
    return exchange(text, service("ledger", ports=(TCP,)))


def status(text: str, name: str = "x", gateways: GatewayPorts = CONNECTED) -> PolicyStatus:
    return next(entry for entry in policy_statuses(world(text), {}, gateways) if entry.name == name)


def by_type(conditions: tuple[Condition, ...]) -> dict[str, Condition]:
    return {condition.type: condition for condition in conditions}


def warnings(text: str, gateways: GatewayPorts = CONNECTED) -> list[str]:
    current = world(text)
    return reference_warnings(current, current.documents, gateways)


def tcp_route(rules: str, parent: str, name: str = "x") -> str:
    return route(name, rules, parent).replace("HTTPRoute", "TCPRoute")


def grpc_route(rules: str, parent: str) -> str:
    return route("x", rules, parent).replace("HTTPRoute", "GRPCRoute")
