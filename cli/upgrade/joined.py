"""The instances of `mesh run` and `mesh agent` in a state directory, and how their agents are replaced."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from meshwright.cli.errors import CommandError
from meshwright.cli.join.resume import resumed_config
from meshwright.cli.python_module import module_command
from meshwright.cli.state_lock import INSTANCES_FOLDER, holder
from meshwright.cli.upgrade.envoy_version import envoy_version
from meshwright.cli.upgrade.steps import Proxy, RunningAgent
from meshwright.control_plane.api import errors
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.errors import InputError
from meshwright.sidecar import control_client, hot_restart
from meshwright.sidecar.status import WorkloadStatus

LIBRARY_VARIABLES = ("PYTHONPATH", "PYTHONHOME")
"""Variables that lead Python to an installation. PATH is left to the app."""

POLL_INTERVAL = 0.05


@dataclass(frozen=True, slots=True)
class LocalInstance:
    """An instance whose agent runs in `folder`, and its Envoy; None if that does not run at present."""

    folder: Path
    agent: RunningAgent
    proxy: Proxy | None


def local_instances(state: Path, envoy: Path) -> list[LocalInstance]:
    """The instances that run, by name. `envoy` is the installed binary."""
    folders = sorted((state / INSTANCES_FOLDER).glob("*"))
    return [_local_instance(folder, envoy) for folder in folders if holder(folder) is not None]


def obstacles(state: Path) -> dict[str, str]:
    """Why `mesh upgrade` leaves agents of instances alone, by `service/name`, for those that respond."""
    folders = [folder for folder in (state / INSTANCES_FOLDER).glob("*") if holder(folder) is not None]
    reasons = {}
    for folder in folders:
        agent, workload = _local_agent(folder)
        if workload and agent.obstacle:
            reasons[f"{workload.service}/{workload.name}"] = agent.obstacle
    return reasons


def _local_instance(folder: Path, envoy: Path) -> LocalInstance:
    agent, workload = _local_agent(folder)
    return LocalInstance(folder, agent, _proxy(folder, workload, envoy) if workload else None)


def _local_agent(folder: Path) -> tuple[RunningAgent, WorkloadStatus | None]:
    """The agent that runs in a folder, and its workload if it responds."""
    try:
        status = control_client.fetch_status(folder)
        workload = status.workloads[0]
    except (OSError, ValueError, IndexError):
        obstacle = "it does not respond: see its output, and start it again"
        return RunningAgent(folder.name, "", obstacle), None
    return RunningAgent(workload.name, status.version, _obstacle(folder)), workload


def _obstacle(folder: Path) -> str:
    """Why this version cannot go on with an instance; empty if it can."""
    try:
        resumed_config(folder)
    except FileNotFoundError:
        return "its version cannot be replaced in place: start it again"
    except (OSError, ValidationError, InputError):
        return "this version does not understand its configuration: start it again"
    return ""


def _proxy(folder: Path, workload: WorkloadStatus, envoy: Path) -> Proxy | None:
    pid = workload.pids.get("proxy")
    if pid is None:
        return None
    try:
        version = envoy_version(Path(f"/proc/{pid}/exe"))
    except CommandError:
        version = ""
    obstacle = hot_restart.obstacle(hot_restart.sidecar_folder(folder, workload.name), pid, envoy)
    return Proxy(
        workload.name, workload.service, workload.role, version, obstacle, agent=folder, replaceable=False
    )


def replace_agent(instance: LocalInstance, environ: Mapping[str, str], timeout: float) -> None:
    """Have this version go on with an instance, and wait for it; raises CommandError if it does not."""
    name, folder = instance.agent.name, instance.folder.absolute()
    variables = {variable: environ.get(variable) for variable in LIBRARY_VARIABLES}
    try:
        control_client.replace_agent(folder, module_command("cli.join.resume", str(folder)), variables)
    except (OSError, ValueError) as error:
        raise CommandError(
            errors.FAILED, f"{name}: its agent was not replaced and goes on: {error}"
        ) from None
    deadline = time.monotonic() + timeout
    while not _runs_installed_version(folder):
        if time.monotonic() > deadline or holder(folder) is None:
            advice = "its Envoy and app go on: see its output, and start it again with the same --instance"
            raise CommandError(errors.FAILED, f"{name}: the installed version did not take over: {advice}")
        time.sleep(POLL_INTERVAL)


def _runs_installed_version(folder: Path) -> bool:
    try:
        status = control_client.fetch_status(folder)
    except (OSError, ValueError):
        return False
    return status.version == VERSION and all(item.phase == "running" for item in status.workloads)
