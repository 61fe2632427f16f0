"""The request log on every listener; in the goldens no node has a request log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from meshwright.control_plane.api.spiffe import Identity, Role
from meshwright.control_plane.core import access_log
from meshwright.control_plane.core.resource import LDS
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec
from tests.control_plane.core.worlds import TCP, body, exchange, mesh, service

OFF = mesh("Telemetry", "quiet", "accessLog: Off")
ALL = mesh("Telemetry", "loud", "accessLog: All")
NAME = "envoy.access_loggers.open_telemetry"
PROXIES: list[tuple[Role, str, dict[str, Any]]] = [
    ("service", "orders", {"outbound": 1, "inbound": 2, "upstreams": (("ledger", "127.0.9.1", 5432),)}),
    ("service", "ledger", {"outbound": 1, "inbound": 2}),
    ("gateway", "ingress", {"gateway": (("http", 3),)}),
]


def access_logs(
    role: Role, name: str, bindings: dict[str, Any], text: str = ""
) -> Iterator[tuple[str, list[Any]]]:
    """Each connection manager and TCP proxy of a proxy by its listener, with its access logs."""
    snapshot = translate(exchange(text, service("ledger", ports=(TCP,)))).snapshot
    node = snapshot.node(Identity("mesh.local", role, name), Bindings(**bindings))
    for resource in node.base(LDS).values():
        for chain in codec.to_dict(body(resource))["filter_chains"]:
            config = chain["filters"][-1]["typed_config"]
            yield resource.name, config.get("access_log", [])


@pytest.mark.parametrize(("role", "name", "bindings"), PROXIES)
@pytest.mark.parametrize("text", ["", OFF, ALL])
def test_request_log_is_on_every_listener_whatever_the_telemetry_policy(
    role: Role, name: str, bindings: dict[str, Any], text: str
) -> None:
    pairs = list(access_logs(role, name, {**bindings, "request_log": True}, text))
    assert pairs
    for listener, logs in pairs:
        assert [log["name"] for log in logs].count(NAME) == 1, listener


@pytest.mark.parametrize(("role", "name", "bindings"), PROXIES)
def test_without_the_binding_no_listener_has_a_request_log(
    role: Role, name: str, bindings: dict[str, Any]
) -> None:
    for listener, logs in access_logs(role, name, bindings):
        assert NAME not in [log["name"] for log in logs], listener


def test_records_carry_the_listeners_direction() -> None:
    result = {}
    for role, name, bindings in PROXIES:
        for listener, logs in access_logs(role, name, {**bindings, "request_log": True}):
            values = logs[-1]["typed_config"]["attributes"]["values"]
            result[listener] = {item["key"]: item["value"]["string_value"] for item in values}["direction"]
    assert result == {
        "outbound": "outbound", "connect": "outbound", "inbound": "inbound", "tcp/ledger": "outbound",
        "ingress": "ingress",
    }  # fmt: skip


def test_request_fields_contain_no_query_and_only_identifying_headers() -> None:
    headers = [value for value in access_log.REQUEST_FIELDS.values() if value.startswith("%REQ(")]
    assert sorted(headers) == [
        "%REQ(:AUTHORITY)%", "%REQ(:METHOD)%", "%REQ(CONTENT-TYPE)%", "%REQ(TRACEPARENT)%",
        "%REQ(X-REQUEST-ID)%",
    ]  # fmt: skip
    assert "(NQ)" in access_log.REQUEST_FIELDS["path"]
