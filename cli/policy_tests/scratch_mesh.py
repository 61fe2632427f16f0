"""The mesh of the cases: the real control plane, agents and Envoys in a folder of their own, for a while."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from meshwright.cli.application import Application, ApplicationSpec, GatewayEntry, ServiceEntry, ServicePort
from meshwright.cli.errors import warn
from meshwright.cli.launch_ports import SETTINGS, settle_ports
from meshwright.cli.launcher import LaunchPlan, MeshLauncher
from meshwright.cli.output import Level
from meshwright.cli.policy_tests.mesh_plan import MeshPlan, PlannedGateway
from meshwright.cli.readiness import Readiness
from meshwright.cli.reconcile.applied import applied_application
from meshwright.cli.state_lock import StateLock
from meshwright.control_plane.api.calls import SourcedDocument
from meshwright.control_plane.config import read_settings
from meshwright.control_plane.policies.base import Metadata
from meshwright.sidecar.config import Workload
from meshwright.sidecar.ports import PortAllocator

KEPT_SETTINGS = frozenset(
    {"MESH_DOMAINS", "MESH_ENVOY_PATCHES", "MESH_OUTBOUND", "MESH_TRUST_DOMAIN", "MESH_VERIFY"}
)
"""Settings that say what policies do. Others are those of the user's mesh, which nothing here may touch."""

NO_COMMAND = ("played-by-mesh-test",)
"""Stands for the command of a service in the application; no process is started for it."""


@dataclass(frozen=True, slots=True)
class PlayedPlan(LaunchPlan):
    """A mesh whose services this process plays. `policies` are applied to it."""

    policies_to_apply: tuple[SourcedDocument, ...] = ()

    def documents(self) -> list[SourcedDocument]:
        """The policies."""
        return list(self.policies_to_apply)

    @property
    def workloads(self) -> tuple[Workload, ...]:
        """Everything that the agent is to run: sidecars and gateways, and no apps."""
        items = self.applied.workloads(self.settings.state)
        return tuple(item.model_copy(update={"command": None}) for item in items)


@dataclass(frozen=True, slots=True)
class ScratchMesh:
    """The ports to call: `outbound` by service (that of its first instance), `gateways` by name."""

    outbound: Mapping[str, int]
    gateways: Mapping[str, int]


@asynccontextmanager
async def scratch_mesh(
    plan: MeshPlan, app_ports: Mapping[str, int], policies: tuple[SourcedDocument, ...], seconds: float
) -> AsyncIterator[ScratchMesh]:
    """A mesh that is ready, with these policies; everything is stopped and removed at the end.
    It has so many seconds to become ready.

    Raises CommandError if it cannot start, ApiError if a policy is refused.
    """
    with TemporaryDirectory(prefix="mesh-test-") as name:
        state = Path(name) / "state"
        _clear_environment(state)
        lock = StateLock(state)
        launch = settle_ports(_launch_plan(plan, app_ports, policies, seconds), auto=True)
        launcher = MeshLauncher(launch, _report)
        try:
            await launcher.up()
            readiness = Readiness(state, seconds, _report, {})
            readiness.begin()
            for instance in plan.instances:
                await readiness.until_served(instance.service, instance.name)
            yield _ports(plan, launcher)
        finally:
            await launcher.down()
            lock.release()


def _clear_environment(state: Path) -> None:
    """Forget the user's mesh: its store, its addresses, its context. Child processes inherit this."""
    for name in [name for name in os.environ if name.startswith("MESH_") and name not in KEPT_SETTINGS]:
        del os.environ[name]
    # The command itself calls in place of the services.
    os.environ |= {"MESH_STATE": str(state), "MESH_PROXY_CREDENTIAL": "off", "MESH_DRAIN_DELAY": "0"}
    os.environ |= {"MESH_PUSH": "immediate"}
    # The ports that a mesh has by default are left to the user's.
    ports = PortAllocator("127.0.0.1", random.random())  # noqa: S311  spread, not secrecy
    os.environ |= {f"MESH_{name.upper()}": str(ports.allocate()) for name in SETTINGS}


def _launch_plan(
    plan: MeshPlan, app_ports: Mapping[str, int], policies: tuple[SourcedDocument, ...], seconds: float
) -> PlayedPlan:
    ports = PortAllocator("127.0.0.1", random.random())  # noqa: S311  spread, not secrecy
    application = Application(
        api_version="meshwright.io/v1",
        kind="Application",
        metadata=Metadata(name="mesh-test"),
        spec=ApplicationSpec(
            gateways=tuple(_gateway(gateway, ports) for gateway in plan.gateways),
            services=tuple(
                ServiceEntry(
                    name=instance.service,
                    command=NO_COMMAND,
                    labels=instance.labels,
                    ports=(ServicePort(name="http", port=app_ports[instance.name], number=instance.port),),
                )
                for instance in plan.instances
            ),
        ),
    )
    applied = applied_application(application, Path("mesh-test.yaml"), ports={})
    return PlayedPlan(applied, read_settings(os.environ), seconds, policies_to_apply=policies)


def _gateway(gateway: PlannedGateway, ports: PortAllocator) -> GatewayEntry:
    listeners = {name: ports.allocate() for name in gateway.listeners if name != "http"}
    return GatewayEntry(name=gateway.name, port=ports.allocate(), listeners=listeners, concurrency=1)


def _ports(plan: MeshPlan, launcher: MeshLauncher) -> ScratchMesh:
    status = launcher.agent_status()
    outbound: dict[str, int] = {}
    gateways: dict[str, int] = {}
    entries = {gateway.name: gateway.entry for gateway in plan.gateways}
    for workload in status.workloads if status else ():
        if workload.role == "gateway":
            gateways[workload.service] = workload.ports[f"gateway.{entries[workload.service]}"]
        else:
            outbound.setdefault(workload.service, workload.ports["outbound"])
    return ScratchMesh(outbound, gateways)


def _report(level: Level, name: str, message: str) -> None:
    """Only what is wrong: the rest is no result."""
    if level in ("bad", "partial"):
        warn(f"{name}: {message}")
