"""What of Consul's API is honoured, and how the rest is refused."""

from __future__ import annotations

import pytest

from tests.sidecar.consul.world import CHECK, ORDERS, SERVICE, World, is_empty

ANY = {"Name": "orders", "Port": 8000}


@pytest.mark.parametrize(
    ("path", "status", "reason"),
    [
        ("/v1/kv/config/application?recurse", 501, "no key-value store"),
        ("/v1/session/create", 501, "locks"),
        ("/v1/health/state/any", 501, "by service"),
        ("/v1/catalog/node/here", 501, "/v1/agent/services"),
        ("/v1/agent/health/service/name/orders", 501, "/v1/health/service/NAME"),
        ("/v1/event/list", 501, "mesh events"),
        ("/v1/agent/connect/ca/leaf/orders", 501, "certificates"),
        ("/v1/agent/service/register", 404, "Unknown service ID"),
        ("/v1/agent/check/pass/beat", 405, "takes PUT"),
        ("/v1/catalog/services?dc=dc2", 500, "No path to datacenter"),
        ("/v1/health/service/orders?dc=dc1&near=_agent&ns=default&stale", 200, ""),
        ("/v1/health/service/orders?near=other", 400, "near"),
        ("/v1/health/service/orders?ns=team", 400, "ns"),
        ("/v1/health/service/orders?node-meta=a:b", 400, "nodes have no metadata"),
        ("/v1/health/service/orders?passingonly", 400, "'passingonly'"),
        ("/v1/catalog/services?filter=a==b", 400, "'filter'"),
        ("/v1/health/service/orders?filter=Service.Nme==a", 400, "not valid"),
        ("/v1/health/service/orders?consistent", 200, ""),
        ("/v1/agent/members", 200, ""),
        ("/v1/status/peers", 200, ""),
        ("/v1/catalog/nodes", 200, ""),
    ],
)
async def test_what_is_not_honoured_is_refused_with_a_reason(
    world: World, path: str, status: int, reason: str
) -> None:
    await world.until(lambda: world.get("/v1/status/leader"))
    answer = await world.get(path, status)
    assert reason in (answer if status != 200 else "")


async def test_filters_select_entries_of_every_kind(world: World) -> None:
    await world.put(f"{SERVICE}/register", {**ORDERS, "Check": {"TTL": "1h", "Status": "passing"}})
    await world.put(f"{SERVICE}/register", {**ORDERS, "ID": "orders:2", "Meta": {"version": "v2"}})

    async def selected(path: str, expression: str) -> int:
        return len(await world.get(path + "?filter=" + expression.replace(" ", "%20")))

    await world.until(lambda: selected("/v1/health/service/orders", "Service.Meta.version == v2"))
    assert await selected("/v1/health/service/orders", "Service.Meta.version == v2") == 1
    assert await selected("/v1/health/service/orders", "Checks.Status == passing") == 1
    assert await selected("/v1/health/checks/orders", "ServiceTags contains v1") == 2
    assert await selected("/v1/catalog/service/orders", "ServiceMeta.version != v2") == 1
    assert await selected("/v1/agent/services", "Meta.version == v2") == 1
    assert await selected("/v1/agent/checks", "Status == critical") == 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"Kind": "connect-proxy"}, "Kind is not supported"),
        ({"Connect": {"Native": True}}, "Connect.Native is not supported"),
        ({"Check": {"Args": ["/bin/true"], "Interval": "1s"}}, "no programs"),
        ({"Check": {"HTTP": "https://127.0.0.1/"}}, "https is not supported"),
        ({"Check": {"GRPC": "127.0.0.1:1", "grpc_use_tls": True}}, "GRPCUseTLS"),
        ({"Namespace": "team"}, "Namespace"),
    ],
)
async def test_a_field_that_changes_how_an_application_is_called_is_refused(
    world: World, fields: dict[str, object], reason: str
) -> None:
    assert reason in await world.put(f"{SERVICE}/register", {**ANY, **fields}, status=400)
    assert not world.agent.running


async def test_a_field_without_effect_is_named_in_the_answer(world: World) -> None:
    body = {**ANY, "Connect": {"SidecarService": {}}, "Weights": {"Passing": 5}, "EnableTagOverride": False}
    async with world.client.put(f"{SERVICE}/register", json=body) as response:
        assert response.status == 200
        warning = response.headers["Warning"]
    assert "Connect is ignored" in warning
    assert "Weights is ignored" in warning
    assert "EnableTagOverride" not in warning
    even = {**ANY, "Weights": {"passing": 1, "warning": 1}, "Namespace": "default"}
    async with world.client.put(f"{SERVICE}/register", json=even) as response:
        assert (response.status, response.headers.get("Warning")) == (200, None)


async def test_checks_that_were_added_stay_when_the_service_registers_again(world: World) -> None:
    service = {**ANY, "Check": {"TTL": "1h", "Status": "passing"}}
    await world.put(f"{SERVICE}/register", service)
    await world.put(f"{CHECK}/register", {"Name": "more", "ServiceID": "orders", "TTL": "1h"})
    await world.put(f"{SERVICE}/register", service)
    assert {*await world.get("/v1/agent/checks")} == {"service:orders", "more"}
    await world.put(f"{SERVICE}/register?replace-existing-checks=true", service)
    assert [*await world.get("/v1/agent/checks")] == ["service:orders"]


async def test_maintenance_takes_a_service_out_of_rotation_until_it_ends(world: World) -> None:
    service = {**ANY, "Check": {"TTL": "1h", "Status": "passing"}}
    await world.put(f"{SERVICE}/register", service)
    await world.until(lambda: world.passing("orders"))
    assert "enable" in await world.put(f"{SERVICE}/maintenance/orders", status=400)
    await world.put(f"{SERVICE}/maintenance/unknown?enable=true", status=404)
    await world.put(f"{SERVICE}/maintenance/orders?enable=true&reason=disk")
    await world.put(f"{SERVICE}/register", service)
    await world.until(lambda: is_empty(world.passing("orders")))
    (check,) = await world.get("/v1/health/checks/orders")
    assert "disk" in check["Output"]
    await world.put(f"{SERVICE}/maintenance/orders?enable=false")
    await world.until(lambda: world.passing("orders"))
