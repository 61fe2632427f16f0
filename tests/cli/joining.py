"""Processes that join a running mesh: started by `mesh run` or `mesh agent`, always stopped by their pid."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from meshwright.cli.http import call_api
from meshwright.control_plane.api import calls
from meshwright.sidecar import control_client as agent
from meshwright.sidecar.status import WorkloadStatus
from tests.envoy.harness import ROOT, Mesh, until

IDENTITY = "spiffe://mesh.local/service"


@dataclass
class Joined:
    """One instance that joined: `folder` is where its agent keeps its files."""

    name: str
    folder: Path
    process: subprocess.Popen[str]
    error: Path

    def status(self) -> WorkloadStatus:
        """What its agent says of it."""
        return agent.fetch_status(self.folder).workloads[0]

    def port(self, name: str) -> int:
        """One of its ports: outbound, inbound, ready, app.http."""
        return self.status().ports[name]

    def pid(self, part: str) -> int:
        """The process id of `app` or `proxy`."""
        return self.status().pids[part]

    def stop(self, number: signal.Signals = signal.SIGINT, within: float = 40.0) -> int:
        """Signal it and wait; its exit code."""
        self.process.send_signal(number)
        return self.process.wait(within)

    def healthy(self) -> bool:
        """Whether its agent runs and finds it healthy; a gateway has no app, so it is when it runs."""
        if self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}: {self.error.read_text()}")
        try:
            found = self.status()
        except OSError:
            return False
        return found.healthy or (found.role == "gateway" and found.phase == "running")


def command(verb: str, *arguments: str) -> list[str]:
    """`mesh VERB ARGUMENTS` as a command line."""
    return [sys.executable, "-m", "meshwright.cli", verb, *arguments]


@contextmanager
def joined(
    mesh: Mesh,
    name: str,
    service: str,
    *arguments: str,
    run: Sequence[str],
) -> Iterator[Joined]:
    """`mesh run` beside `mesh`, healthy for the control plane too; stopped as Ctrl-C stops it."""
    options = ("--service", service, "--instance", name, "--state", str(mesh.state), *arguments)
    with starting(mesh, name, mesh.state, command("run", *options, "--", *run)) as one:
        yield one


@contextmanager
def starting(
    mesh: Mesh,
    name: str,
    state: Path,
    argv: Sequence[str],
    **environment: str,
) -> Iterator[Joined]:
    """A process that joins as `name`, once `mesh` knows it to be healthy; stopped at the end."""
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
    one = Joined(name, state / "instances" / name, process, error)
    try:
        until(one.healthy, f"{name} is healthy")
        until(lambda: listed(mesh, name) == "synced", f"the mesh knows {name}")
        if one.status().role == "service":
            until(lambda: called(mesh, name), f"{name} is called", every=0.2)
        yield one
    finally:
        if process.poll() is None:
            try:
                one.stop()
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def listed(mesh: Mesh, name: str) -> str:
    """The state of a sidecar as the mesh sees it; empty when it does not."""
    return next((str(one["state"]) for one in mesh.status()["proxies"] if one["name"] == name), "")


def called(mesh: Mesh, name: str) -> bool:
    """Whether an instance is told to be healthy, and every sidecar that is connected was told so."""
    known = call_api(calls.instances(), mesh.state)["instances"]
    states = {one["state"] for one in call_api(calls.status(), mesh.state)["proxies"]}
    return (name, "healthy") in {(one["name"], one["health"]) for one in known} and "pending" not in states


def healthy_instances(mesh: Mesh, service: str) -> int:
    """How many healthy instances the mesh knows of a service."""
    return next((int(one["healthy"]) for one in mesh.status()["services"] if one["name"] == service), 0)
