"""A complete mesh, started as a user starts it: `mesh up` with an application of fakes, on free ports.

```
with running_mesh(tmp_path, [service("front"), service("back", replicas=2)]) as mesh:
    mesh.apply(RETRY)                            # mesh apply -f - --wait
    mesh.get("front-1", "http://back/echo")      # through front-1's sidecar, as its app would call
    mesh.counts("back-1")                        # counted by the app itself
```
Ports are free ones, and processes are found by their records, never by name.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from ruamel.yaml import YAML

from meshwright.sidecar import control_client as agent
from tests.fakes.mesh_command import run_mesh
from tests.fakes.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
READY = 150.0
"""Seconds within which a mesh is ready, on a busy machine too."""

PORTS = ("MESH_ADMIN_PORT", "MESH_XDS_PORT", "MESH_ENROLMENT_PORT", "MESH_OTLP_PORT")
"""The settings for the ports of a control plane."""

OWN_CHECKS = {"ports", "envoy", "clock", "store", "proxies", "versions", "calls", "control plane"}
"""Checks of `mesh doctor` that find nothing in a new mesh, whatever else runs on the host."""

WITHIN = 60.0
"""Seconds to wait for a condition that normally holds within one."""

MOST_PATIENCE = 2.0


def patience() -> float:
    """The factor for deadlines: what waits for each core now, at least 1 and at most MOST_PATIENCE."""
    return min(MOST_PATIENCE, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def until(condition: Callable[[], object], what: str, within: float = WITHIN, every: float = 0.05) -> Any:
    """Poll until `condition` is true, and return its value.

    Fails the test after `within` seconds, on a busy machine later (see `patience`).
    """
    started = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        late = time.monotonic() - started
        assert late < within or late < within * patience(), f"not within {late:.0f} s: {what}"
        time.sleep(every)


def service(
    name: str, *, replicas: int = 1, labels: dict[str, str] | None = None, **env: str
) -> dict[str, Any]:
    """An entry of the application file whose process is the fake app."""
    return {
        "name": name,
        "command": [sys.executable, "-m", "tests.fakes.app"],
        "replicas": replicas,
        "labels": labels or {},
        "env": {"PYTHONPATH": str(ROOT), **env},
        "health": {"path": "/health/ready", "interval": "1s"},
    }


@dataclass
class Mesh:
    """A running mesh. `environment` is that of `mesh` commands."""

    state: Path
    process: subprocess.Popen[str]
    ingress_port: int
    environment: dict[str, str]
    output: list[str] = field(default_factory=list)

    # --- the command line ---------------------------------------------------------------------------

    def run(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """`mesh ARGUMENTS`; with `check`, an error fails the test."""
        argv = (*arguments, "--state", str(self.state))
        done = run_mesh(argv, self.environment, stdin=(stdin or "").encode())
        assert not check or done.returncode == 0, (
            f"mesh {arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def apply(self, text: str, *arguments: str) -> int:
        """Apply YAML and wait until every sidecar has it. Returns the revision.

        What it names need not exist: tests look at that too.
        """
        done = self.run("apply", "-f", "-", "--wait", "--no-strict", "-o", "json", *arguments, stdin=text)
        return int(json.loads(done.stdout)["revision"])

    def delete(self, kind: str, name: str) -> None:
        """Delete a policy and wait until no sidecar has it."""
        self.run("delete", kind, name, "--wait")

    def status(self) -> dict[str, Any]:
        """`mesh status -o json`."""
        document: dict[str, Any] = json.loads(self.run("status", "-o", "json").stdout)
        return document

    def is_sound(self, proxies: int) -> bool:
        """Whether `mesh version` knows every part, each of one version, and `mesh doctor` objects to the host
        at most."""
        findings = json.loads(self.run("doctor", "-o", "json", check=False).stdout)["items"]
        if {item["check"] for item in findings} & OWN_CHECKS:
            return False
        shown = json.loads(self.run("version", "-o", "json").stdout)
        parts = [(item["component"], len(item["where"])) for item in shown["items"] if item["version"]]
        expected = [("client", 1), ("control plane", 1), ("agent", proxies), ("Envoy", proxies)]
        return parts == expected and not shown["skews"]

    # --- processes ----------------------------------------------------------------------------------

    def pid(self, name: str) -> int:
        """The pid of a child process: store, control-plane, agent, NAME or NAME.proxy."""
        number: int = json.loads((self.state / "run" / f"{name}.json").read_text())["pid"]
        return number

    def log(self, name: str) -> str:
        """The log of a child process."""
        return (self.state / "logs" / f"{name}.log").read_text()

    def stop_workload(self, name: str) -> None:
        """Stop a workload gracefully and wait until it has stopped."""
        agent.stop_workload(self.state, name)

    def ports(self, name: str) -> dict[str, int]:
        """The ports of a workload: outbound, inbound, ready, app.http, gateway.http."""
        return next(
            workload.ports for workload in agent.fetch_status(self.state).workloads if workload.name == name
        )

    # --- requests -----------------------------------------------------------------------------------

    def get(self, instance: str, url: str, method: str = "GET", **options: Any) -> requests.Response:
        """A request to `url` through the outbound proxy of `instance`'s sidecar."""
        proxy = {"http": f"http://127.0.0.1:{self.ports(instance)['outbound']}"}
        return requests.request(method, url, proxies=proxy, timeout=options.pop("timeout", 30), **options)

    def caller(self, instance: str) -> requests.Session:
        """A session whose requests go through `instance`'s sidecar on keep-alive connections."""
        session = requests.Session()
        session.trust_env = False
        session.proxies = {"http": f"http://127.0.0.1:{self.ports(instance)['outbound']}"}
        return session

    def outside(self, path: str, method: str = "GET", **options: Any) -> requests.Response:
        """A request from outside, through the ingress."""
        url = f"http://127.0.0.1:{self.ingress_port}{path}"
        return requests.request(method, url, timeout=options.pop("timeout", 30), **options)

    def app(self, instance: str) -> str:
        """The URL of the app itself, without its sidecar."""
        return f"http://127.0.0.1:{self.ports(instance)['app.http']}"

    def counts(self, instance: str) -> dict[str, int]:
        """Requests that the fake app of `instance` has counted since its start or the last reset."""
        body: dict[str, int] = requests.get(f"{self.app(instance)}/count", timeout=60).json()
        return body

    def reset(self, *names: str) -> None:
        """Reset the counts of fake apps."""
        for name in names:
            requests.post(f"{self.app(name)}/reset", timeout=60).raise_for_status()


def application(
    services: Sequence[dict[str, Any]],
    port: int,
    policies: Sequence[str] = (),
    gateways: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """An application file as a mapping, with a gateway `ingress` and `gateways`."""
    return {
        "apiVersion": "meshwright.io/v1",
        "kind": "Application",
        "metadata": {"name": "lab"},
        "spec": {
            "gateways": [{"name": "ingress", "port": port}, *gateways],
            "services": list(services),
            "policies": list(policies),
        },
    }


def settings(state: Path, **more: str) -> dict[str, str]:
    """An environment with free ports, without settings of another mesh and without proxies."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MESH_") and not name.lower().endswith("_proxy")
    }
    ports = {name: str(free_port()) for name in PORTS}
    fast = {"MESH_DRAIN_DELAY": "0.2", "PYTHONUNBUFFERED": "1"}
    # Most tests call through a sidecar themselves, in place of its app.
    open_sidecars = {"MESH_PROXY_CREDENTIAL": "off"}
    # Most tests are about what a policy does, not about how it arrives.
    at_once = {"MESH_PUSH": "immediate"}
    return {**clean, **ports, "MESH_STATE": str(state), **fast, **open_sidecars, **at_once, **more}


@contextmanager
def running_mesh(
    folder: Path,
    services: Sequence[dict[str, Any]],
    arguments: Sequence[str] = (),
    gateways: Sequence[dict[str, Any]] = (),
    **environment: str,
) -> Iterator[Mesh]:
    """A mesh that is ready. Stopped by Ctrl-C at the end."""
    port = free_port()
    file = folder / "application.yaml"
    with file.open("w") as out:
        YAML(typ="safe").dump(application(services, port, gateways=gateways), out)
    with running_application(file, port, arguments, **environment) as mesh:
        yield mesh


@contextmanager
def running_application(
    file: Path, port: int, arguments: Sequence[str] = (), **environment: str
) -> Iterator[Mesh]:
    """The mesh of an application file, whose ingress listens on `port`; its state is beside the file."""
    state = file.with_name("state")
    env = settings(state, **environment)
    process = subprocess.Popen(
        [sys.executable, "-m", "meshwright.cli", "up", "-f", str(file), "--timeout", str(READY), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
        cwd=ROOT,
        start_new_session=True,
    )
    mesh = Mesh(state, process, port, env)
    reader = threading.Thread(target=_read, args=(mesh,), daemon=True)
    reader.start()
    with interrupted_by_sigterm():
        try:
            until(lambda: mesh_is_ready(mesh) or process.poll() is not None, "mesh up", READY + 10)
            assert process.poll() is None, "mesh up failed:\n" + "".join(mesh.output)
            yield mesh
        finally:
            stop(mesh)
            reader.join(5)


@contextmanager
def interrupted_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that a benchmark or a test leaves no mesh behind."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change handlers
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def mesh_is_ready(mesh: Mesh) -> bool:
    """Whether `mesh up` has printed that it is ready."""
    return any(re.match(r"ready in ", line) for line in mesh.output)


def stop(mesh: Mesh) -> None:
    """Send Ctrl-C and wait. A mesh that does not stop is killed with its children, and fails the test."""
    if mesh.process.poll() is not None:
        return
    mesh.process.send_signal(signal.SIGINT)
    try:
        mesh.process.wait(120)
    except subprocess.TimeoutExpired:
        mesh.process.kill()
        subprocess.run(
            [sys.executable, "-m", "meshwright.cli", "down", "--state", str(mesh.state)],
            check=False,
            cwd=ROOT,
        )
        raise


def _read(mesh: Mesh) -> None:
    assert mesh.process.stdout is not None
    for line in mesh.process.stdout:
        mesh.output.append(line)
