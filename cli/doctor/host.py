"""Gathers the facts of this host: settings, state directory, limits, processes and their connections."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from meshwright.cli.doctor.connections import exposed_apps, shortcuts
from meshwright.cli.doctor.facts import HostFacts, PortUse, Usage
from meshwright.cli.state_lock import holder
from meshwright.control_plane.api.process_identity import MARKER, find_process
from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.config import read_settings
from meshwright.control_plane.envoy_binary import envoy_binary
from meshwright.control_plane.errors import InputError
from meshwright.sidecar.addresses import split_host_port
from meshwright.sidecar.orphans import read_record
from meshwright.sidecar.ports import is_free, process_on_port
from meshwright.sidecar.status import AgentStatus

_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")


def gather_host(state: Path, environ: Mapping[str, str], *, remote: bool = False) -> HostFacts:
    """The facts of this host and of a state directory. Changes nothing; leaves out what cannot be read.

    `remote`: the mesh that is asked about is on another host, so its ports are not looked for here.
    """
    processes = recorded_processes(state)
    running = "control-plane" in processes
    agents = [status for path in _agent_files(state) if (status := _agent_status(path))]
    apps = {item.name: item for status in agents for item in status.workloads}
    return HostFacts(
        state=str(state),
        running=running,
        ports=() if remote else tuple(_ports(state, environ, running=running)),
        envoy_problem=_envoy_problem(),
        inotify=inotify_usage(),
        open_files=tuple(_open_files(processes)),
        open_files_limit=_files_limit(),
        **_space(state),
        left=tuple(sorted(processes)) if processes and holder(state) is None else (),
        strays=tuple(_strays()),
        shortcuts=shortcuts(apps),
        exposed=exposed_apps(apps),
        admin_token_age=_age(state / "admin.token"),
    )


def recorded_processes(state: Path) -> dict[str, psutil.Process]:
    """The running processes of `mesh up` in a state directory, by name."""
    records = (read_record(path) for path in (state / "run").glob("*.json"))
    processes = ((record.name, find_process(record)) for record in records if record)
    return {name: process for name, process in processes if process is not None}


def _agent_files(state: Path) -> Iterator[Path]:
    yield state / "agent.json"
    yield from (state / "instances").glob("*/agent.json")


def _agent_status(path: Path) -> AgentStatus | None:
    try:
        return AgentStatus.model_validate_json(path.read_bytes())
    except (OSError, ValueError):
        return None


def _ports(state: Path, environ: Mapping[str, str], *, running: bool) -> Iterator[PortUse]:
    """The control plane's ports: where it listens, or where it would."""
    if running:
        with suppress(OSError, ValueError):
            addresses = MeshAddresses.model_validate_json((state / "mesh.json").read_bytes())
            otlp = (addresses.otlp,) if addresses.otlp else ()
            for address in (addresses.admin.partition("://")[2], addresses.xds, addresses.enrolment, *otlp):
                host, port = split_host_port(address, 0)
                yield PortUse("mesh.json", address, not is_free(host, port))
    else:
        settings = read_settings({**environ, "MESH_STATE": str(state)})
        for name in ("admin_port", "xds_port", "enrolment_port", "otlp_port"):
            host = settings.admin_bind if name == "admin_port" else settings.bind
            port = getattr(settings, name)
            in_use = bool(port) and not is_free(host, port)
            yield PortUse(
                f"MESH_{name.upper()}", f"{host}:{port}", in_use, process_on_port(port) if in_use else ""
            )


def _envoy_problem() -> str:
    try:
        envoy_binary()
    except InputError as error:
        return str(error)
    return ""


def inotify_usage() -> Usage:
    """The inotify instances of this user's processes, as far as this user may see them."""
    used = 0
    for process in psutil.process_iter(["uids"]):
        uids = process.info["uids"]
        if uids is None or uids.real != os.getuid():
            continue
        used += sum(target == "anon_inode:inotify" for target in open_targets(process.pid))
    limit = int(_INOTIFY.read_text()) if _INOTIFY.exists() else 0
    return Usage(f"uid {os.getuid()}", used, limit)


def open_targets(pid: int) -> Iterator[str]:
    """What the descriptors of a process lead to."""
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                yield str(descriptor.readlink())


def _open_files(processes: Mapping[str, psutil.Process]) -> Iterator[Usage]:
    for name, process in sorted(processes.items()):
        with suppress(psutil.Error, OSError):
            soft, _ = process.rlimit(psutil.RLIMIT_NOFILE)
            yield Usage(name, process.num_fds(), soft if soft > 0 else 0)


def _files_limit() -> float:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return float("inf") if hard == resource.RLIM_INFINITY else hard


def _space(state: Path) -> dict[str, Usage]:
    """The space and inodes of the file system where the state directory is, or would be."""
    folder = next(path for path in (state.absolute(), *state.absolute().parents) if path.exists())
    usage = os.statvfs(folder)
    size, free = usage.f_blocks * usage.f_frsize, usage.f_bavail * usage.f_frsize
    return {
        "disk": Usage(str(folder), size - free, size),
        "inodes": Usage(str(folder), usage.f_files - usage.f_favail, usage.f_files),
    }


def _strays() -> Iterator[str]:
    """Session leaders that a mesh has started in a folder that does not exist any more."""
    for process in psutil.process_iter(["name", "environ"]):
        environment = process.info["environ"] or {}
        with suppress(psutil.Error, OSError):
            leads = MARKER in environment and os.getsid(process.pid) == process.pid
            if leads and _is_gone(process, environment):
                yield f"{process.info['name']} (pid {process.pid})"


def _is_gone(process: psutil.Process, environment: Mapping[str, str]) -> bool:
    """Whether its state directory is gone: that of its environment, or the folder in which it runs."""
    return not Path(environment.get("MESH_STATE") or process.cwd()).exists()


def _age(path: Path) -> float:
    try:
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0
