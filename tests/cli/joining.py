"""Processes that join a running mesh: started by `mesh run` or `mesh agent`, and stopped by pid."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from meshwright.cli.http import call_api
from meshwright.control_plane.api import calls
from meshwright.sidecar import control_client as agent
from meshwright.sidecar.status import WorkloadStatus
from tests.envoy.harness import ROOT, Mesh, until

IDENTITY = "spiffe://mesh.local/service"


@dataclass
class Joined:
    """An instance that joined. `folder` has the files of its agent."""

    name: str
    folder: Path
    process: subprocess.Popen[str]
    error: Path

    def status(self) -> WorkloadStatus:
        """Its status, from its agent."""
        return agent.fetch_status(self.folder).workloads[0]

    def port(self, name: str) -> int:
        """One of its ports: outbound, inbound, ready, app.http."""
        return self.status().ports[name]

    def pid(self, part: str) -> int:
        """The process id of `app` or `proxy`."""
        return self.status().pids[part]

    def stop(self, number: signal.Signals = signal.SIGINT, timeout: float = 40.0) -> int:
        """Signal it and wait; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(timeout)

    def kill(self) -> None:
        """End it as the loss of its machine does: the agent first, so that it cannot deregister, then its
        children and its Envoy, which is detached from it."""
        process = psutil.Process(self.process.pid)
        for each in [process, *process.children(recursive=True), psutil.Process(self.pid("proxy"))]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()

    def healthy(self) -> bool:
        """Whether its agent reports it as healthy; a gateway, which has no app, as running."""
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}: {self.error.read_text()}")
        try:
            status = self.status()
        except OSError:
            return False
        return status.healthy or (status.role == "gateway" and status.phase == "running")


def command(*arguments: str) -> list[str]:
    """`mesh ARGUMENTS` as a command line."""
    return [sys.executable, "-m", "meshwright.cli", *arguments]


@contextmanager
def joined(
    mesh: Mesh,
    name: str,
    service: str,
    *arguments: str,
    run: Sequence[str],
) -> Iterator[Joined]:
    """`mesh run` in `mesh`, healthy in the control plane too; stopped by SIGINT at the end."""
    options = ("--service", service, "--instance", name, "--state", str(mesh.state), *arguments)
    with starting(mesh, name, mesh.state, command("run", *options, "--", *run)) as instance:
        yield instance


@contextmanager
def starting(
    mesh: Mesh,
    name: str,
    state: Path,
    argv: Sequence[str],
    **environment: str,
) -> Iterator[Joined]:
    """A process that joins as `name`, once `mesh` lists it as healthy; stopped at the end."""
    error = mesh.state.parent / f"{name}.stderr"
    with error.open("w") as err:
        process = subprocess.Popen(
            argv,
            stdout=subprocess.DEVNULL,
            stderr=err,
            text=True,
            env={**mesh.environment, **environment},
            cwd=ROOT,
            start_new_session=True,
        )
    instance = Joined(name, state / "instances" / name, process, error)
    try:
        until(instance.healthy, f"{name} is healthy")
        until(lambda: listed(mesh, name) == "synced", f"the mesh lists {name}")
        if instance.status().role == "service":
            until(lambda: is_callable(mesh, name), f"callers know {name}", every=0.2)
        yield instance
    finally:
        if process.poll() is None:
            try:
                instance.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def listed(mesh: Mesh, name: str) -> str:
    """The state of a sidecar in the mesh; empty if it is not listed."""
    return next((str(proxy["state"]) for proxy in mesh.status()["proxies"] if proxy["name"] == name), "")


def is_callable(mesh: Mesh, name: str) -> bool:
    """Whether an instance is healthy, and every connected sidecar has ACKed that."""
    instances = call_api(calls.instances(), mesh.state)["instances"]
    states = {proxy["state"] for proxy in call_api(calls.status(), mesh.state)["proxies"]}
    return (name, "healthy") in {
        (item["name"], item["health"]) for item in instances
    } and "pending" not in states


def healthy_instances(mesh: Mesh, service: str) -> int:
    """The number of healthy instances of a service in the mesh."""
    return next(
        (int(item["healthy"]) for item in mesh.status()["services"] if item["name"] == service),
        0,
    )
