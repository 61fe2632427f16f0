"""Traces over the admin API: found, read, and in Jaeger's shape."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from meshwright.control_plane.api.spiffe import Identity
from tests.control_plane.telemetry.exports import BASE_MS, SpanSpec, span_export
from tests.fakes.admin_server import FakeMesh


@pytest.fixture
async def kept(mesh: FakeMesh) -> FakeMesh:
    """Two traces that begin alike: one of orders, one of ingress and orders."""
    orders, ingress = (
        Identity("mesh.local", "service", "orders"),
        Identity("mesh.local", "gateway", "ingress"),
    )
    first, second = 0xABCD << 112 | 1, 0xABCD << 112 | 2
    told = {"http.method": "POST", "http.url": "http://shop/api/orders?x=1", "component": "proxy"}
    for identity, spans in (
        (orders, [SpanSpec(first, 1, name="tick", end=900)]),
        (ingress, [SpanSpec(second, 1, name="in", end=50, attributes=told)]),
        (orders, [SpanSpec(second, 2, 1, name="out", start=1, end=40, failed=True)]),
    ):
        for _ in mesh.traces.handle(identity, span_export(identity.name, spans), 0.0):
            pass
    return mesh


async def get(mesh: FakeMesh, path: str, status: int = 200) -> Any:
    """The JSON of a GET with the token."""
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {mesh.token}"}) as session,
        session.get(mesh.url + path) as answer,
    ):
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_traces_are_found_and_read(kept: FakeMesh) -> None:
    everything = (await get(kept, "/api/v1/traces"))["traces"]
    assert [one["spans"] for one in everything] == [2, 1]
    assert everything[0]["request"] == "POST /api/orders"
    (slow,) = (await get(kept, "/api/v1/traces?service=orders&minDuration=800ms"))["traces"]
    (failed,) = (await get(kept, "/api/v1/traces?errors=true"))["traces"]
    assert (slow["operation"], failed["errors"]) == ("tick", 1)
    trace = await get(kept, f"/api/v1/traces/{failed['id']}")
    assert [(span["service"], span["depth"]) for span in trace["tree"]] == [("ingress", 0), ("orders", 1)]


async def test_what_a_caller_did_wrong_is_an_error_to_nobody(kept: FakeMesh) -> None:
    told = {"component": "proxy", "http.status_code": "409", "error": "true"}
    refused = SpanSpec(0xBEEF << 112, 1, name="conflict", kind=3, failed=True, attributes=told)
    for _ in kept.traces.handle(
        Identity("mesh.local", "service", "orders"), span_export("orders", [refused]), 0.0
    ):
        pass
    assert len((await get(kept, "/api/v1/traces?errors=true"))["traces"]) == 1
    query = 'service=orders&tags={"error":"true"}'
    assert len((await get(kept, f"/api/traces?{query}"))["data"]) == 1
    (trace,) = (await get(kept, "/api/traces?service=orders&operation=conflict"))["data"]
    assert "error" not in {tag["key"] for tag in trace["spans"][0]["tags"]}


async def test_a_prefix_names_a_trace_if_it_is_the_only_one(kept: FakeMesh) -> None:
    fault = await get(kept, "/api/v1/traces/abcd", 400)
    assert "more than one" in fault["error"]["message"]
    await get(kept, "/api/v1/traces/ffff", 404)
    for wrong in ("zz", "abc", "0" * 33):
        fault = await get(kept, f"/api/v1/traces/{wrong}", 400)
        words = "id: has no such form: the trace's 32 hexadecimal digits, or the first 4 or more"
        assert fault["error"]["message"] == words
    await get(kept, "/api/v1/traces?minDuration=soon", 400)


async def test_jaegers_clients_are_answered_in_its_shape(kept: FakeMesh) -> None:
    assert (await get(kept, "/api/services"))["data"] == ["ingress", "orders"]
    assert (await get(kept, "/api/services/orders/operations"))["data"] == ["out", "tick"]
    query = 'service=orders&tags={"error":"true"}&minDuration=10ms&lookback=1h&limit=5'
    reply = await get(kept, f"/api/traces?{query}")
    assert {"data", "total", "limit", "offset", "errors"} == reply.keys()
    (trace,) = reply["data"]
    root, child = trace["spans"]
    assert (root["startTime"], root["duration"], root["references"]) == (BASE_MS * 1000, 50_000, [])
    assert child["references"] == [
        {"refType": "CHILD_OF", "traceID": trace["traceID"], "spanID": root["spanID"]}
    ]
    assert {"key": "error", "type": "bool", "value": True} in child["tags"]
    assert trace["processes"][child["processID"]]["serviceName"] == "orders"
    assert (await get(kept, f"/api/traces/{trace['traceID']}"))["data"] == [trace]
    assert (await get(kept, "/api/dependencies?endTs=1795000000000"))["data"] == [
        {"parent": "ingress", "child": "orders", "callCount": 1}
    ]
    await get(kept, "/api/traces/1", 404)


@pytest.mark.parametrize("path", ["/api/services", "/api/traces?service=a", "/api/v1/traces"])
async def test_traces_need_the_token(kept: FakeMesh, raw: aiohttp.ClientSession, path: str) -> None:
    async with raw.get(path) as answer:
        assert answer.status == 401
