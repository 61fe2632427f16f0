"""What all services have in common: health, metrics, OpenAPI, errors, and a graceful shutdown."""

from __future__ import annotations

import asyncio
import sqlite3
import sys

import aiohttp
import pytest
from openapi_spec_validator import validate

from tests.services.processes import STAFF, Shop, until
from tests.services.span_collector import attributes, span_collector

NAMES = ("catalog", "inventory", "payments", "orders")


@pytest.mark.parametrize("name", NAMES)
async def test_service_has_health_metrics_openapi_and_error_form(shop: Shop, name: str) -> None:
    service = await shop.start(name)
    live = await shop.call(service, "GET", "/health/live")
    assert (live.status, live.body) == (200, {"status": "alive"})
    ready = await shop.call(service, "GET", "/health/ready")
    assert (ready.status, ready.body) == (200, {"status": "ready"})
    health = await shop.call(service, "GET", "/health")
    assert set(health.body) == {"status", "timestamp", "service", "version", "checks"}
    assert (health.body["status"], health.body["service"]) == ("healthy", name)
    checks = health.body["checks"]
    assert checks["database"]["status"] == checks["memory"]["status"] == "healthy"
    assert checks["database"]["duration_ms"] > 0
    assert 10**7 < checks["memory"]["rss_bytes"] < 10**9
    validate((await shop.call(service, "GET", "/openapi.json")).body)
    missing = await shop.call(service, "GET", "/nowhere")
    assert (missing.status, missing.code) == (404, "not_found")
    async with shop.session.get(f"{service.url}/metrics") as response:
        text = await response.text()
    assert f'active_connections{{service="{name}"}} 1.0' in text
    assert 'http_requests_total{method="GET",route="unmatched",status_code="404"} 1.0' in text
    assert 'http_request_duration_seconds_bucket{le="0.1",method="GET",route="/health/live"' in text


CHECKS = "not_a_server_error,status_code_conformance,response_schema_conformance,negative_data_rejection"


@pytest.mark.parametrize(
    "name", ["orders", *(pytest.param(name, marks=pytest.mark.long) for name in NAMES if name != "orders")]
)
async def test_service_conforms_to_its_openapi_document(shop: Shop, name: str) -> None:
    services = NAMES if name == "orders" else (name,)
    *_, service = await asyncio.gather(*(shop.start(service) for service in services))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "schemathesis.cli", "run", f"{service.url}/openapi.json", "--seed", "1",
        "--max-examples", "20", "--phases", "fuzzing", "--suppress-health-check", "all", "--checks", CHECKS,
        *(part for name, value in STAFF.items() for part in ("--header", f"{name}: {value}")),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=shop.folder,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


async def test_broken_json_and_wrong_methods_have_the_form_of_errors(shop: Shop) -> None:
    catalog = await shop.start("catalog")
    url = f"{catalog.url}/api/catalog/products"
    async with shop.session.post(url, data=b'{"name": ', headers=STAFF) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "invalid_json")
    async with shop.session.patch(url) as response:
        assert (response.status, (await response.json())["error"]["code"]) == (405, "method_not_allowed")
        assert response.headers["allow"] == "GET,POST"


async def test_readiness_depends_on_the_services_own_database_only(shop: Shop) -> None:
    orders = await shop.start("orders")
    assert (await shop.call(orders, "GET", "/health/ready")).status == 200  # no other service runs
    database = shop.folder / "data" / "orders.db"
    with sqlite3.connect(database, isolation_level=None) as connection:
        connection.execute("BEGIN IMMEDIATE")
        assert (await shop.call(orders, "GET", "/health/ready")).status == 200  # readers do not wait
        connection.execute("DROP TABLE carts")  # the first one, which readiness looks at
        connection.execute("DROP TABLE events")
        connection.execute("COMMIT")
    ready = await shop.call(orders, "GET", "/health/ready")
    assert (ready.status, ready.body) == (503, {"status": "not ready"})
    health = await shop.call(orders, "GET", "/health")
    assert (health.status, health.body["status"]) == (503, "unhealthy")
    assert health.body["checks"]["database"]["error"] == "DatabaseUnavailableError"
    assert (await shop.call(orders, "GET", "/health/live")).status == 200
    read = await shop.call(orders, "GET", "/api/orders/user/ada")
    assert read.status == 200  # the read model still exists
    assert (await shop.order(orders, "k", {"cold-wallet": 1})).code == "database_unavailable"


async def test_in_flight_request_finishes_after_sigterm(shop: Shop) -> None:
    _, inventory, _, orders = await asyncio.gather(*(shop.start(name) for name in NAMES))
    hold = shop.proxy.hold("inventory", "after")
    placing = asyncio.ensure_future(shop.order(orders, "k", {"cold-wallet": 1}))
    await hold.arrived.wait()
    orders.process.terminate()

    async def refuses_connections() -> bool:
        async with aiohttp.ClientSession() as session:
            try:
                async with session.get(f"{orders.url}/health/live"):
                    return False
            except aiohttp.ClientConnectionError:
                return True

    await until(refuses_connections)
    assert not placing.done()
    assert orders.process.returncode is None
    hold.release.set()
    assert (await placing).status == 201
    assert await orders.stop() == 0
    assert [record["event"] for record in orders.records()][-1] == "stopped"
    assert (await shop.stock(inventory, "cold-wallet")) == {"onHand": 999, "reserved": 0, "available": 999}


async def test_wrong_setting_or_used_port_is_one_line_on_stderr(shop: Shop) -> None:
    catalog = await shop.start("catalog")
    for environ, code, expected in (
        ({"PORT": "x"}, 2, "PORT"),
        ({"PORT": str(catalog.port)}, 1, str(catalog.port)),
    ):
        with pytest.raises(AssertionError) as failure:
            await shop.start("inventory", **environ)
        assert f"inventory: {'cannot start: ' if code == 1 else ''}" in str(failure.value)
        assert expected in str(failure.value)
        assert shop.processes[-1].process.returncode == code


async def test_spans_of_one_order_reach_the_collector_as_one_trace(shop: Shop) -> None:
    with span_collector() as collector:
        *_, orders = await asyncio.gather(*(shop.start(name, **collector.environ) for name in NAMES))
        placed = await shop.order(orders, "k", {"cold-wallet": 1}, card="tok-of-ada")
        await shop.close()
        trace = collector.trace_of("orders", "POST /api/orders")
    by_name = {span.name: attributes(span) for name, span in trace if name == "orders"}
    assert by_name["POST /api/orders"].items() >= {
        ("order.id", placed.body["orderId"]),
        ("order.amount", placed.body["total"]),
    }
    assert {name for name, _ in trace} == set(NAMES)
    steps = {name for name in by_name if name.startswith("saga ")}
    assert steps == {"saga reserve", "saga charge", "saga confirm", "saga commit", "saga notify"}
    assert by_name["database write"]["db.system.name"] == "sqlite"
    writes = [span for _, span in trace if span.name == "database write"]
    statements = [attributes(event)["db.query.text"] for span in writes for event in span.events]
    assert any(statement.startswith("INSERT INTO outbox") for statement in statements)
    assert "tok-of-ada" not in str(trace), "a span has no values of statements"
