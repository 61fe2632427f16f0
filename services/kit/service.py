"""What a service is, and what it works with. `services/hosting` runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from meshwright.services.kit.background import background, repeat
from meshwright.services.kit.client import ServiceClient
from meshwright.services.kit.operations import Operation
from meshwright.services.kit.settings import ServiceSettings

if TYPE_CHECKING:  # half a second of imports that a service without tables does not need
    from sqlalchemy import MetaData

    from meshwright.services.kit.database import Database

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Upper bounds in seconds for durations. The service level objectives use 0.1, 0.5, 1, 2, 5 and 10."""

HealthCheck = Callable[[], Awaitable[Mapping[str, Any] | None]]
"""Raises when something is wrong. May return figures for the report."""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a service works with.

    Resources beside HTTP go on `exit_stack`. It closes them, last first, after the HTTP server and before the
    database. Metrics in `registry` are served at /metrics. `checks` are shown by /health only: readiness is
    about the service's own database. `routes` are those that are no operations of the API, such as pages.
    """

    settings: ServiceSettings
    environ: Mapping[str, str]
    client: ServiceClient
    registry: CollectorRegistry
    exit_stack: AsyncExitStack
    database_or_none: Database | None
    checks: dict[str, HealthCheck] = field(default_factory=dict)
    routes: list[web.RouteDef] = field(default_factory=list)

    @property
    def database(self) -> Database:
        """The database of a service that has tables."""
        if self.database_or_none is None:
            raise RuntimeError(f"{self.settings.service} has no tables and so no database")
        return self.database_or_none

    async def repeat(self, name: str, seconds: float, job: Callable[[], Awaitable[bool]]) -> None:
        """Run `job` again and again for as long as the service runs, as `background.repeat` does."""
        await self.exit_stack.enter_async_context(background(repeat(name, seconds, job)))


@dataclass(frozen=True, slots=True)
class ServiceDefinition:
    """A service: its name, its tables (None: no database), and what builds its operations.

    `build_operations` runs once the database is open and may raise SettingsError.
    """

    name: str
    tables: MetaData | None
    build_operations: Callable[[Runtime], Awaitable[Sequence[Operation]]]
