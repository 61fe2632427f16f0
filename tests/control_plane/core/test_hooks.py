"""How the core applies hooks: filters in the order of their phases, dependencies pushed first."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import http1
from meshwright.control_plane.core.http_connection_manager import connection_manager
from meshwright.control_plane.core.resource import LDS, VHDS
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.views import ListenerSettings
from meshwright.control_plane.policies.hooks import ListenerDirection
from meshwright.control_plane.policies.telemetry.envoy import TelemetryHooks
from meshwright.control_plane.policies.timeout.envoy import TimeoutHooks
from tests.control_plane.core.worlds import exchange, mesh

AUTHENTICATION = ["api_key_auth", "basic_auth", "jwt_authn"]
AUTHORIZATION = ["authorization.1-deny", "authorization.2-allow"]
EXTERNAL_AUTHORIZATION, BODY = "meshwright.external_authorization", "meshwright.body"
LIMITS = (
    "local_ratelimit",
    "meshwright.local_ratelimit.audit",
    "meshwright.ratelimit.allow",
    "meshwright.ratelimit.deny",
)


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        (
            "inbound",
            [
                *AUTHENTICATION,
                EXTERNAL_AUTHORIZATION,
                *AUTHORIZATION,
                *LIMITS,
                BODY,
                http1.TRAILERS,
                "router",
            ],
        ),
        (
            "outbound",
            [
                *("on_demand", "set_filter_state", "grpc_stats", "cors", *AUTHORIZATION, *LIMITS),
                *("fault", "header_mutation", "dynamic_forward_proxy", "external-addresses", "router"),
            ],
        ),
        (
            "ingress",
            [
                *("grpc_stats", "meshwright.compression", "cors", *AUTHENTICATION, EXTERNAL_AUTHORIZATION),
                *(*AUTHORIZATION, *LIMITS, "fault", BODY, "header_mutation", http1.TRAILERS, "router"),
            ],
        ),
    ],
)
def test_http_filters_follow_their_phases(direction: ListenerDirection, expected: list[str]) -> None:
    manager = connection_manager(direction, "test", "routes", ListenerSettings("s"))
    assert [item.name.removeprefix("envoy.filters.http.") for item in manager.http_filters] == expected


def depends_on_inventory(hooks: Any) -> tuple[str, ...]:
    return ("inventory",)


def test_dependencies_of_a_route_policy_are_required_by_its_virtual_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TimeoutHooks, "dependencies", depends_on_inventory)
    policy = mesh("Timeout", "t", "request: 1s", "{kind: Service, name: catalog}")
    shared = translate(exchange(policy)).snapshot.shared
    assert shared[VHDS, "out/catalog"].required_clusters == ("catalog", "inventory")
    assert shared[VHDS, "out/orders"].required_clusters == ("orders",)


def test_dependencies_of_a_listener_policy_are_required_by_its_listeners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(TelemetryHooks, "dependencies", depends_on_inventory)
    snapshot = translate(exchange()).snapshot
    bindings = Bindings(outbound=11, inbound=12, gateway=(("http", 13),))
    for role, name in (("service", "orders"), ("gateway", "ingress")):
        node = snapshot.node(Identity("mesh.local", role, name), bindings)  # type: ignore[arg-type]
        for listener in node.base(LDS).values():
            assert listener.required_clusters == ("inventory",), listener.name


def test_default_of_a_kind_applies_where_no_policy_is_attached() -> None:
    resolver = translate(exchange()).resolver
    (default,) = resolver.listener_settings("orders").policies
    assert (default.kind, default.ref) == ("Telemetry", "")
    attached = translate(exchange(mesh("Telemetry", "t", "accessLog: Off"))).resolver
    settings = attached.listener_settings("orders")
    assert [policy.ref for policy in settings.policies] == ["Telemetry/t"]
    assert settings.refs == ("Telemetry/t",)
