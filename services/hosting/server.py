"""Runs a service: settings, logs, traces, database, client, HTTP server, and a graceful shutdown.

On SIGTERM or SIGINT the process stops accepting, closes idle connections, finishes in-flight requests (within
`DRAIN_SECONDS`), closes its database and exits with 0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import structlog
from aiohttp import web

from meshwright.services.hosting import logs, tracing
from meshwright.services.hosting.app import create_app
from meshwright.services.hosting.health import HealthEndpoints
from meshwright.services.hosting.metrics import ServiceMetrics
from meshwright.services.hosting.resources import open_resources
from meshwright.services.kit.client import open_client
from meshwright.services.kit.operations import DatabaseUnavailableError, Operation
from meshwright.services.kit.service import Runtime, ServiceDefinition
from meshwright.services.kit.settings import ServiceSettings, SettingsError, read_settings

KEEPALIVE_SECONDS = 3700.0
"""Idle connections live longer here than in a proxy (Envoy closes them after an hour). So the proxy never
sends a request on a connection that is closing."""

BACKLOG = 1024
log = structlog.get_logger()


def run(service: ServiceDefinition) -> None:
    """Serve until SIGTERM or SIGINT, then exit with 0.

    Exits with 2 and one line when settings are wrong, with 1 when a port or the database is not available.
    """
    try:
        settings = read_settings(service.name, os.environ, os.getpid())
    except SettingsError as error:
        sys.exit(_print_error(service.name, str(error), 2))
    os.environ.setdefault("OTEL_PYTHON_AIOHTTP_SERVER_EXCLUDED_URLS", tracing.UNTRACED_PATHS)
    logs.configure(settings.service, settings.instance, settings.log_level)
    try:
        provider = tracing.configure(
            settings.service,
            settings.instance,
            settings.version,
            settings.otlp_endpoint,
            settings.jaeger_endpoint,
            keep_queries=settings.keep_queries,
        )
    except ImportError as error:
        sys.exit(_print_error(service.name, f"MESH_TRACES_EXPORTER: {error}: install meshwright[jaeger]", 2))
    try:
        asyncio.run(_serve(service, settings))
    except SettingsError as error:
        sys.exit(_print_error(service.name, str(error), 2))
    except (OSError, DatabaseUnavailableError, ModuleNotFoundError) as error:
        sys.exit(_print_error(service.name, f"cannot start: {error}", 1))
    finally:
        provider.shutdown()


def _print_error(name: str, message: str, code: int) -> int:
    sys.stderr.write(f"{name}: {message}\n")
    return code


async def _serve(service: ServiceDefinition, settings: ServiceSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serving(service, settings, os.environ) as (port, health):
        log.info("listening", host=settings.host, port=port, version=settings.version)
        await stop.wait()
        health.draining = True
        log.info("stopping", reason="signal")
    log.info("stopped")


@asynccontextmanager
async def serving(
    service: ServiceDefinition, settings: ServiceSettings, environ: Mapping[str, str]
) -> AsyncIterator[tuple[int, HealthEndpoints]]:
    """Serve until the end of the context; yields the port and the health."""
    async with open_resources() as exit_stack:
        database = None
        if service.tables is not None:
            from meshwright.services.kit.database import open_database  # half a second that not all need

            database = await open_database(
                service.name, settings.database_url, settings.data_dir, service.tables
            )
            exit_stack.push_async_callback(database.close)
        client = await exit_stack.enter_async_context(open_client())
        metrics = ServiceMetrics(settings.service)
        runtime = Runtime(settings, environ, client, metrics.registry, exit_stack, database)
        operations = await service.build_operations(runtime)
        async with _serving_http(runtime, metrics, operations) as served:
            yield served


@asynccontextmanager
async def _serving_http(
    runtime: Runtime, metrics: ServiceMetrics, operations: Sequence[Operation]
) -> AsyncIterator[tuple[int, HealthEndpoints]]:
    settings, database = runtime.settings, runtime.database_or_none
    health = HealthEndpoints(settings, {"database": database.check} if database else {}, runtime.checks)
    runner = web.AppRunner(
        create_app(settings, operations, health, metrics, runtime.routes),
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=settings.drain_seconds,
    )
    await runner.setup()
    try:
        server = runner.server
        metrics.connections_from(lambda: len(server.connections) if server else 0)
        await web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG).start()
        yield runner.addresses[0][1], health
    finally:
        await runner.cleanup()
