"""Traces over the admin API: search, one trace, and Jaeger's format."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from meshwright.control_plane.api.spiffe import Identity
from tests.control_plane.telemetry.span_exports import BASE_MS, SpanSpec, span_export
from tests.fakes.admin_server import FakeMesh


@pytest.fixture
async def traced_mesh(mesh: FakeMesh) -> FakeMesh:
    """Two traces whose IDs share a prefix: one of orders, one of ingress and orders."""
    orders, ingress = (
        Identity("mesh.local", "service", "orders"),
        Identity("mesh.local", "gateway", "ingress"),
    )
    first, second = 0xABCD << 112 | 1, 0xABCD << 112 | 2
    attributes = {"http.method": "POST", "http.url": "http://shop/api/orders?x=1", "component": "proxy"}
    for identity, spans in (
        (orders, [SpanSpec(first, 1, name="tick", end=900)]),
        (ingress, [SpanSpec(second, 1, name="in", end=50, attributes=attributes)]),
        (orders, [SpanSpec(second, 2, 1, name="out", start=1, end=40, failed=True)]),
    ):
        for _ in mesh.traces.handle(identity, span_export(identity.name, spans), 0.0):
            pass
    return mesh


async def get(mesh: FakeMesh, path: str, status: int = 200) -> Any:
    """The JSON of a GET with the token."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {mesh.token}"}) as session,
        session.get(mesh.url + path) as response,
    ):
        assert response.status == status, await response.text()
        return await response.json()


async def test_traces_can_be_searched_and_read(traced_mesh: FakeMesh) -> None:
    every_trace = (await get(traced_mesh, "/api/v1/traces"))["traces"]
    assert [trace["spans"] for trace in every_trace] == [2, 1]
    assert every_trace[0]["request"] == "POST /api/orders"
    (slow,) = (await get(traced_mesh, "/api/v1/traces?service=orders&minDuration=800ms"))["traces"]
    (failed,) = (await get(traced_mesh, "/api/v1/traces?errors=true"))["traces"]
    assert (slow["operation"], failed["errors"]) == ("tick", 1)
    trace = await get(traced_mesh, f"/api/v1/traces/{failed['id']}")
    assert [(span["service"], span["depth"]) for span in trace["tree"]] == [("ingress", 0), ("orders", 1)]


async def test_a_client_error_does_not_count_as_a_failed_span(traced_mesh: FakeMesh) -> None:
    attributes = {"component": "proxy", "http.status_code": "409", "error": "true"}
    refused = SpanSpec(0xBEEF << 112, 1, name="conflict", kind=3, failed=True, attributes=attributes)
    for _ in traced_mesh.traces.handle(
        Identity("mesh.local", "service", "orders"), span_export("orders", [refused]), 0.0
    ):
        pass
    assert len((await get(traced_mesh, "/api/v1/traces?errors=true"))["traces"]) == 1
    query = 'service=orders&tags={"error":"true"}'
    assert len((await get(traced_mesh, f"/api/traces?{query}"))["data"]) == 1
    (trace,) = (await get(traced_mesh, "/api/traces?service=orders&operation=conflict"))["data"]
    assert "error" not in {tag["key"] for tag in trace["spans"][0]["tags"]}


async def test_a_prefix_finds_a_trace_only_if_it_is_unique(traced_mesh: FakeMesh) -> None:
    error = await get(traced_mesh, "/api/v1/traces/abcd", 400)
    assert "more than one trace has this prefix" in error["error"]["message"]
    await get(traced_mesh, "/api/v1/traces/ffff", 404)
    for invalid in ("zz", "abc", "0" * 33):
        error = await get(traced_mesh, f"/api/v1/traces/{invalid}", 400)
        expected = "id: expected a trace ID (32 hex digits) or a prefix of at least 4"
        assert error["error"]["message"] == expected
    await get(traced_mesh, "/api/v1/traces?minDuration=soon", 400)


async def test_jaeger_clients_get_its_format(traced_mesh: FakeMesh) -> None:
    assert (await get(traced_mesh, "/api/services"))["data"] == ["ingress", "orders"]
    assert (await get(traced_mesh, "/api/services/orders/operations"))["data"] == ["out", "tick"]
    query = 'service=orders&tags={"error":"true"}&minDuration=10ms&lookback=1h&limit=5'
    reply = await get(traced_mesh, f"/api/traces?{query}")
    assert {"data", "total", "limit", "offset", "errors"} == reply.keys()
    (trace,) = reply["data"]
    root, child = trace["spans"]
    assert (root["startTime"], root["duration"], root["references"]) == (BASE_MS * 1000, 50_000, [])
    assert child["references"] == [
        {"refType": "CHILD_OF", "traceID": trace["traceID"], "spanID": root["spanID"]}
    ]
    assert {"key": "error", "type": "bool", "value": True} in child["tags"]
    assert trace["processes"][child["processID"]]["serviceName"] == "orders"
    assert (await get(traced_mesh, f"/api/traces/{trace['traceID']}"))["data"] == [trace]
    assert (await get(traced_mesh, "/api/dependencies?endTs=1795000000000"))["data"] == [
        {"parent": "ingress", "child": "orders", "callCount": 1}
    ]
    await get(traced_mesh, "/api/traces/1", 404)


@pytest.mark.parametrize("path", ["/api/services", "/api/traces?service=a", "/api/v1/traces"])
async def test_traces_require_the_token(traced_mesh: FakeMesh, raw: aiohttp.ClientSession, path: str) -> None:
    async with raw.get(path) as response:
        assert response.status == 401
