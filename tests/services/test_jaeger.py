"""Spans as Thrift over HTTP: a real service sends them to a real HTTP server, bypassing the proxy."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from aiohttp import web

from meshwright.services.hosting import jaeger
from tests.services.processes import Shop, until


def decode_batch(body: bytes) -> Any:
    """Decode an export with Thrift's own reader."""
    jaeger.create_exporter("http://127.0.0.1:1", 1)  # restores the names without which the import fails
    ttypes = import_module("opentelemetry.exporter.jaeger.thrift.gen.jaeger.ttypes")
    transport = import_module("thrift.transport.TTransport").TMemoryBuffer(body)
    batch = ttypes.Batch()
    batch.read(import_module("thrift.protocol.TBinaryProtocol").TBinaryProtocol(transport))
    return batch


async def test_spans_reach_jaegers_collector(shop: Shop) -> None:
    bodies: list[bytes] = []

    async def collect(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response(status=202)

    app = web.Application()
    app.router.add_post("/api/traces", collect)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        port = runner.addresses[0][1]
        environ = {
            "MESH_TRACES_EXPORTER": "jaeger",
            "OTEL_EXPORTER_JAEGER_ENDPOINT": f"http://127.0.0.1:{port}/api/traces?format=jaeger.thrift",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "http_proxy": "http://127.0.0.1:9",
            "no_proxy": "",
        }
        catalog = await shop.start("catalog", **environ)
        await shop.call(catalog, "GET", "/api/catalog/products")

        def exported() -> bool:
            spans = {span.operationName for body in bodies for span in decode_batch(body).spans}
            return "GET /api/catalog/products" in spans

        await until(exported)
        assert {decode_batch(body).process.serviceName for body in bodies} == {"catalog"}
    finally:
        await runner.cleanup()
