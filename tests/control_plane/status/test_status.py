"""The mesh as the admin API shows it."""

from __future__ import annotations

import json
from typing import Any

from meshwright.control_plane.api.models.base import ProxyReport, ProxyStatus
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.status import status
from tests.control_plane.core.worlds import documents, exchange, mesh, route

TIMEOUT = mesh("Timeout", "t", "from: [orders], request: 3s", "{kind: Service, name: catalog}")


def bodies(text: str) -> list[dict[str, Any]]:
    return [
        json.loads(one.policy.model_dump_json(by_alias=True, exclude_unset=True)) for one in documents(text)
    ]


def test_the_status_counts_healthy_instances() -> None:
    found = status.mesh_status(exchange(TIMEOUT), "ok", (), {}, ("broken",))
    assert [(one.name, one.instances, one.healthy) for one in found.services] == [
        ("catalog", 1, 1),
        ("inventory", 2, 2),
        ("orders", 1, 1),
    ]
    assert [one.name for one in found.policies] == ["t"]
    assert found.problems == ("broken",)


def test_proxies_are_joined_with_what_they_told() -> None:
    connected = (
        ProxyStatus(name="b-1", service="b", state="rejected", revision=2, error="bad regex"),
        ProxyStatus(name="a-1", service="a", state="disconnected", revision=1),
    )
    told = (
        ProxyReport(node="b-1", service="b", version="1.40.0", memory=7, expires=9.0, uptime=3.0),
        ProxyReport(node="c-1", service="c"),
    )
    a, b, c = status.proxy_details(connected, {("b", "b-1"): 4}, told)
    assert (a.name, a.connected, a.reported, a.pending) == ("a-1", False, False, 0)
    assert (b.name, b.connected, b.reported, b.pending, b.error) == ("b-1", True, True, 4, "bad regex")
    assert (b.version, b.memory, b.expires, b.uptime) == ("1.40.0", 7, 9.0, 3.0)
    assert (c.name, c.state, c.connected, c.reported) == ("c-1", "disconnected", False, True)


def test_instances_are_listed_with_their_labels() -> None:
    found = {one.name: one for one in status.instance_statuses(exchange())}
    assert found["inventory-2"].labels == {"version": "v2"}
    assert found["inventory-2"].address == "127.0.0.1:2"


def test_a_diff_names_each_resource_and_whose_it_is() -> None:
    diff = status.resources_diff(translate(exchange()), [], bodies(TIMEOUT))
    assert "+++ b/VirtualHost/out/catalog (for orders)" in diff
    assert "+    timeout: 3s" in diff
    assert "orders:grpc" not in diff
    assert status.resources_diff(translate(exchange()), bodies(TIMEOUT), bodies(TIMEOUT)) == ""


def test_documents_that_come_together_know_each_other() -> None:
    given = bodies(
        route("r", "{backendRefs: [{name: nobody}]}")
        + mesh("Timeout", "t", "request: 1s", "{kind: HTTPRoute, name: r}")
    )
    (warning,) = status.preview_warnings(exchange(), given)
    assert warning.startswith("HTTPRoute/r: there is no Service nobody")
