"""The systemd units: valid, hardened, and loose enough for the programs that they start."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import requests

from meshwright.control_plane.api.state_dir import MeshAddresses
from tests.cli.joining import command, starting
from tests.envoy.harness import READY, ROOT, Mesh, running_mesh, service, settings, until
from tests.fakes.ports import free_port
from tests.fakes.valkey import running_valkey

FOLDER = ROOT / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
FILTER = Path(__file__).with_name("syscall_filter.py")

MAX_EXPOSURE = 20
"""systemd's score of what a unit may do, in tenths: up to 20 is `OK`; a unit without hardening scores 96."""


def install(unit: Path, folder: Path) -> Path:
    """A copy of a unit that starts the programs of this environment; a template gets an instance name."""
    original = unit.read_text()
    text = original.replace("/opt/meshwright/bin/", f"{Path(sys.executable).parent}/")
    assert text != original
    path = folder / unit.name.replace("@.", "@orders-1.")
    path.write_text(text)
    return path


def systemd_analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/systemd-analyze", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


def confined(unit: str, *argv: str) -> list[str]:
    """A command line that runs `argv` under the system call filter of a unit."""
    return [sys.executable, str(FILTER), str(FOLDER / unit), *argv]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_unit_is_valid_and_hardened(unit: Path, tmp_path: Path) -> None:
    path = install(unit, tmp_path)
    verified = systemd_analyze("verify", "--man=no", str(path))
    assert (verified.returncode, verified.stderr) == (0, "")
    scored = systemd_analyze("security", "--offline=true", f"--threshold={MAX_EXPOSURE}", str(path))
    assert scored.returncode == 0, scored.stdout


def test_units_of_agent_and_control_plane_exist() -> None:
    assert [unit.name for unit in UNITS] == [
        "meshwright-agent@.service",
        "meshwright-control-plane.service",
    ]


def test_agent_accepts_the_options_of_the_example() -> None:
    """`mesh agent` parses the options of agent.env and stops only where it needs a token."""
    lines = (FOLDER / "agent.env").read_text().splitlines()
    assigned = next(line for line in lines if line.startswith("AGENT_OPTIONS="))
    options = assigned.removeprefix("AGENT_OPTIONS=").replace("10.0.0.1", "127.0.0.1").split()
    argv = command("agent", "--instance", "orders-1", "--token-file", "/nowhere/token", *options)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("/nowhere/token: cannot read the token: no such file")


def test_system_call_outside_the_filter_kills_the_process() -> None:
    """The filter of these tests works: only the agent's unit allows sched_setscheduler."""
    probe = "import ctypes; ctypes.CDLL(None).sched_setscheduler(0, 0, None)"
    denied = confined("meshwright-control-plane.service", sys.executable, "-c", probe)
    allowed = confined("meshwright-agent@.service", sys.executable, "-c", probe)
    assert subprocess.run(denied, timeout=60, check=False).returncode == -31  # SIGSYS
    assert subprocess.run(allowed, timeout=60, check=False).returncode == 0


@contextmanager
def fake_app(port: int) -> Iterator[None]:
    """An app that the mesh does not start, as another unit would."""
    argv = [sys.executable, "-m", "tests.fakes.app", "--port", str(port), "--name", "back"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, cwd=ROOT) as process:
        try:
            yield
        finally:
            process.terminate()


def test_sidecar_under_the_agent_units_filter_serves_and_outlives_its_agent(tmp_path: Path) -> None:
    port, token = free_port(), tmp_path / "token"
    options = ("--service", "back", "--instance", "back-1", "--port", str(port), "--health", "/health/ready")
    files = ("--state", str(tmp_path / "agent"), "--token-file", str(token))
    loopback = ("--control-plane", "127.0.0.1", "--advertise", "127.0.0.1", "--bind", "127.0.0.1")
    ports = ("--outbound-port", "0", "--inbound-port", "0", "--ready-port", "0")
    agent = confined("meshwright-agent@.service", *command("agent", *options, *files, *loopback, *ports))
    with running_mesh(tmp_path, [service("front")]) as mesh, fake_app(port):
        mesh.run("token", "create", "--service", "back", "--out", str(token))
        with starting(mesh, "back-1", tmp_path / "agent", agent, MESH_STATE="") as killed:
            assert mesh.get("front-1", "http://back/echo").json()["name"] == "back"
            envoy = killed.pid("proxy")
            killed.process.kill()  # as in a crash, after which systemd starts the unit again
            killed.process.wait(30)
            assert mesh.get("front-1", "http://back/echo").json()["name"] == "back", "Envoy goes on"
        with starting(mesh, "back-1", tmp_path / "agent", agent, MESH_STATE="") as restarted:
            assert restarted.pid("proxy") == envoy
            assert mesh.get("front-1", "http://back/echo").json()["name"] == "back"
            assert restarted.stop(signal.SIGTERM) == 0
        until(lambda: not runs(envoy), "a stop ends Envoy too")


def runs(pid: int) -> bool:
    """Whether the process lives. Its parent, the system's first process, may leave a zombie for a moment."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


RETRY = """apiVersion: meshwright.io/v1
kind: Retry
metadata: {name: all}
spec: {targetRefs: [{kind: Mesh}], attempts: 1}
"""


def test_control_plane_under_its_units_filter_checks_a_change_by_envoy(tmp_path: Path) -> None:
    program = (sys.executable, "-P", "-m", "meshwright.control_plane")
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    with running_valkey(state), (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            confined("meshwright-control-plane.service", *program),
            stdout=log,
            stderr=log,
            text=True,
            env=settings(state),
            cwd=tmp_path,
        )
        try:
            until(lambda: process.poll() is not None or (state / "mesh.json").exists(), "it listens", READY)
            assert process.poll() is None, (tmp_path / "log").read_text()
            admin = MeshAddresses.model_validate_json((state / "mesh.json").read_bytes()).admin
            until(lambda: requests.get(f"{admin}/healthz", timeout=60).status_code == 200, "it is healthy")
            (tmp_path / "retry.yaml").write_text(RETRY)
            mesh = Mesh(state, process, 0, settings(state))
            assert mesh.run("apply", "-f", str(tmp_path / "retry.yaml")).stdout.startswith("revision 1")
            assert json.loads(mesh.run("status", "-o", "json").stdout)["problems"] == []
        finally:
            process.terminate()
            process.wait(30)
