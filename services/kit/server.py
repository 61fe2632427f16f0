"""Run a service: settings, logs, traces, database, client, HTTP server, and an end that loses no request.

On SIGTERM or SIGINT the process stops accepting, closes idle connections, finishes what is in flight (at most
`DRAIN_SECONDS`), closes its database and exits 0.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import structlog
from aiohttp import web
from sqlalchemy import MetaData
from sqlalchemy.exc import SQLAlchemyError

from meshwright.services.kit import logs, tracing
from meshwright.services.kit.app import create_app
from meshwright.services.kit.client import ServiceClient, open_client
from meshwright.services.kit.database import Database, open_database
from meshwright.services.kit.health import HealthEndpoints
from meshwright.services.kit.metrics import ServiceMetrics
from meshwright.services.kit.operations import Operation
from meshwright.services.kit.settings import ServiceSettings, SettingsError, read_settings

KEEPALIVE_SECONDS = 3700.0
"""Kept-alive connections outlast a proxy's (Envoy closes idle ones after an hour), so that it never sends a
request on one that closes."""

BACKLOG = 1024
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a service works with. What it starts beside HTTP it enters into `life`; that is ended, last first,
    once HTTP has come to its end, and before the database is closed.
    """

    settings: ServiceSettings
    environ: Mapping[str, str]
    client: ServiceClient
    metrics: ServiceMetrics
    exit_stack: AsyncExitStack
    database_or_none: Database | None

    @property
    def database(self) -> Database:
        """The service's own; only one with tables has any."""
        if self.database_or_none is None:
            raise RuntimeError(f"{self.settings.service} has no tables, hence no database")
        return self.database_or_none


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """What a service is: its name, its tables (None: it keeps nothing), and how its operations are made once
    the database is open; that may raise SettingsError.
    """

    name: str
    tables: MetaData | None
    build_operations: Callable[[Runtime], Awaitable[Sequence[Operation]]]


def run(assembly: ServiceDefinition) -> None:
    """Serve until told to stop, then exit 0; exit 2 with one line when settings are wrong, 1 when a port or a
    database cannot be had.
    """
    try:
        settings = read_settings(assembly.name, os.environ, os.getpid())
    except SettingsError as error:
        sys.exit(_print_error(assembly.name, str(error), 2))
    os.environ.setdefault("OTEL_PYTHON_AIOHTTP_SERVER_EXCLUDED_URLS", tracing.UNTRACED_PATHS)
    logs.configure(settings.service, settings.instance, settings.log_level)
    try:
        provider = tracing.configure(
            settings.service,
            settings.instance,
            settings.version,
            settings.otlp_endpoint,
            settings.jaeger_endpoint,
        )
    except ImportError as error:
        sys.exit(_print_error(assembly.name, f"MESH_TRACES_EXPORTER: {error}: install meshwright[jaeger]", 2))
    try:
        asyncio.run(_serve(assembly, settings))
    except SettingsError as error:
        sys.exit(_print_error(assembly.name, str(error), 2))
    except (OSError, SQLAlchemyError, ModuleNotFoundError) as error:
        sys.exit(_print_error(assembly.name, f"cannot start: {error}", 1))
    finally:
        provider.shutdown()


def _print_error(name: str, message: str, code: int) -> int:
    sys.stderr.write(f"{name}: {message}\n")
    return code


async def _serve(assembly: ServiceDefinition, settings: ServiceSettings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as life:
        store = None
        if assembly.tables is not None:
            store = await open_database(
                assembly.name, settings.database_url, settings.data_dir, assembly.tables
            )
            life.push_async_callback(store.close)
        client = await life.enter_async_context(open_client())
        runtime = Runtime(settings, os.environ, client, ServiceMetrics(settings.service), life, store)
        operations = await assembly.build_operations(runtime)
        await _listen(runtime, operations, stop)
    log.info("stopped")


async def _listen(runtime: Runtime, operations: Sequence[Operation], stop: asyncio.Event) -> None:
    settings, metrics = runtime.settings, runtime.metrics
    health = HealthEndpoints(
        settings, {"database": runtime.database_or_none.check} if runtime.database_or_none else {}
    )
    runner = web.AppRunner(
        create_app(settings, operations, health, metrics),
        access_log=None,
        keepalive_timeout=KEEPALIVE_SECONDS,
        shutdown_timeout=settings.drain_seconds,
    )
    await runner.setup()
    try:
        server = runner.server
        metrics.connections_from(lambda: len(server.connections) if server else 0)
        await web.TCPSite(runner, settings.host, settings.port, backlog=BACKLOG).start()
        log.info("listening", host=settings.host, port=runner.addresses[0][1], version=settings.version)
        await stop.wait()
        health.draining = True
        log.info("stopping", reason="signal")
    finally:
        await runner.cleanup()
