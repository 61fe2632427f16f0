"""What every service does alike: health, metrics, its document, errors, and an end that loses no request."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from concurrent import futures
from typing import Any

import aiohttp
import grpc
import pytest
from openapi_spec_validator import validate
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as otlp
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as otlp_grpc

from tests.exchange.processes import Exchange, until

NAMES = ("catalog", "inventory", "orders")


@pytest.mark.parametrize("name", NAMES)
async def test_every_service_keeps_the_contract(exchange: Exchange, name: str) -> None:
    service = await exchange.start(name)
    live = await exchange.call(service, "GET", "/health/live")
    assert (live.status, live.body) == (200, {"status": "alive"})
    ready = await exchange.call(service, "GET", "/health/ready")
    assert (ready.status, ready.body) == (200, {"status": "ready"})
    health = await exchange.call(service, "GET", "/health")
    assert set(health.body) == {"status", "timestamp", "service", "version", "checks"}
    assert (health.body["status"], health.body["service"]) == ("healthy", name)
    assert health.body["checks"]["database"]["status"] == "healthy"
    validate((await exchange.call(service, "GET", "/openapi.json")).body)
    missing = await exchange.call(service, "GET", "/nowhere")
    assert (missing.status, missing.code) == (404, "not_found")
    async with exchange.session.get(f"{service.url}/metrics") as response:
        text = await response.text()
    assert f'active_connections{{service="{name}"}} 1.0' in text
    assert 'http_requests_total{method="GET",route="unmatched",status_code="404"} 1.0' in text
    assert 'http_request_duration_seconds_bucket{le="0.1",method="GET",route="/health/live"' in text


CHECKS = "not_a_server_error,status_code_conformance,response_schema_conformance,negative_data_rejection"


@pytest.mark.parametrize("name", NAMES)
async def test_what_the_document_says_is_what_is_served(exchange: Exchange, name: str) -> None:
    neighbours = NAMES if name == "orders" else (name,)
    *_, service = await asyncio.gather(*(exchange.start(neighbour) for neighbour in neighbours))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", "--seed", "1",
        "--max-examples", "20", "--phases", "fuzzing", "--suppress-health-check", "all", "--checks", CHECKS,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=exchange.folder,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_broken_json_and_wrong_methods_have_the_form_of_errors(exchange: Exchange) -> None:
    catalog = await exchange.start("catalog")
    url = f"{catalog.url}/api/catalog/products"
    async with exchange.session.post(url, data=b'{"name": ') as answer:
        assert (answer.status, (await answer.json())["error"]["code"]) == (400, "invalid_json")
    async with exchange.session.patch(url) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == "GET,POST"


async def test_readiness_is_about_the_own_database(exchange: Exchange) -> None:
    orders = await exchange.start("orders")
    assert (await exchange.call(orders, "GET", "/health/ready")).status == 200  # nobody else is there
    database = exchange.folder / "data" / "orders.db"
    with sqlite3.connect(database, isolation_level=None) as rival:
        rival.execute("BEGIN IMMEDIATE")
        assert (await exchange.call(orders, "GET", "/health/ready")).status == 200  # readers do not wait
        rival.execute("DROP TABLE events")
        rival.execute("COMMIT")
    ready = await exchange.call(orders, "GET", "/health/ready")
    assert (ready.status, ready.body) == (503, {"status": "not ready"})
    health = await exchange.call(orders, "GET", "/health")
    assert (health.status, health.body["status"]) == (503, "unhealthy")
    assert health.body["checks"]["database"]["error"] == "OperationalError"
    assert (await exchange.call(orders, "GET", "/health/live")).status == 200
    read = await exchange.call(orders, "GET", "/api/orders/user/ada")
    assert read.status == 200  # the read model is still there
    assert (await exchange.order(orders, "k", {"cold-wallet": 1})).code == "database_unavailable"


async def test_a_request_in_flight_is_finished_after_sigterm(exchange: Exchange) -> None:
    _, inventory, orders = await asyncio.gather(*(exchange.start(name) for name in NAMES))
    hold = exchange.proxy.hold("inventory", "after")
    placing = asyncio.ensure_future(exchange.order(orders, "k", {"cold-wallet": 1}))
    await hold.arrived.wait()
    orders.process.terminate()

    async def refuses() -> bool:
        async with aiohttp.ClientSession() as fresh:
            try:
                async with fresh.get(f"{orders.url}/health/live"):
                    return False
            except aiohttp.ClientConnectionError:
                return True

    await until(refuses)
    assert not placing.done()
    assert orders.process.returncode is None
    hold.release.set()
    assert (await placing).status == 201
    assert await orders.stop() == 0
    assert [record["event"] for record in orders.records()][-1] == "stopped"
    assert (await exchange.stock(inventory, "cold-wallet"))["reserved"] == 1


async def test_a_wrong_setting_or_a_taken_port_is_one_clear_line(exchange: Exchange) -> None:
    catalog = await exchange.start("catalog")
    for environ, code, word in (
        ({"PORT": "x"}, 2, "PORT"),
        ({"PORT": str(catalog.port)}, 1, str(catalog.port)),
    ):
        with pytest.raises(AssertionError) as failure:
            await exchange.start("inventory", **environ)
        assert f"inventory: {'cannot start: ' if code == 1 else ''}" in str(failure.value)
        assert word in str(failure.value)
        assert exchange.running[-1].process.returncode == code


class Collector(otlp_grpc.TraceServiceServicer):
    """An OTLP receiver that keeps the spans."""

    def __init__(self) -> None:
        self.spans: list[tuple[str, Any]] = []

    def Export(
        self, request: otlp.ExportTraceServiceRequest, context: Any
    ) -> otlp.ExportTraceServiceResponse:
        for resource in request.resource_spans:
            names = {
                attribute.key: attribute.value.string_value for attribute in resource.resource.attributes
            }
            for scope in resource.scope_spans:
                self.spans.extend((names["service.name"], span) for span in scope.spans)
        return otlp.ExportTraceServiceResponse()


async def test_spans_of_one_order_reach_the_collector_as_one_trace(exchange: Exchange) -> None:
    collector = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(2))
    otlp_grpc.add_TraceServiceServicer_to_server(collector, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        }
        *_, orders = await asyncio.gather(*(exchange.start(name, **environ) for name in NAMES))
        placed = await exchange.order(orders, "k", {"cold-wallet": 1})
        await exchange.close()
        roots = [
            span for name, span in collector.spans if name == "orders" and span.name == "POST /api/orders"
        ]
        assert len(roots) == 1
        attributes = {attribute.key: attribute.value for attribute in roots[0].attributes}
        assert attributes["order.id"].string_value == placed.body["orderId"]
        assert attributes["order.amount"].int_value == placed.body["total"]
        of_trace = {name for name, span in collector.spans if span.trace_id == roots[0].trace_id}
        assert of_trace == set(NAMES)
    finally:
        server.stop(None)
