"""`mesh doctor`: each check over facts, and each fact of the host made real."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from meshwright.cli.doctor import host
from meshwright.cli.doctor.command import diagnose
from meshwright.cli.doctor.connections import exposed_apps, shortcuts
from meshwright.cli.doctor.facts import Facts, HostFacts, MeshFacts, PortUse, Shortcut, Usage
from meshwright.cli.doctor.mesh import still_pending
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.api.models.status import Status
from meshwright.control_plane.api.models.verdict import MeshProblem, ProblemKind, Verdict
from meshwright.control_plane.api.process_identity import MARKER, birth
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.api.state_dir import ProcessRecord
from meshwright.control_plane.api.version_skew import Skew
from meshwright.sidecar.status import WorkloadStatus
from tests.cli.conftest import RunMesh
from tests.fakes.admin_server import FakeMesh
from tests.fakes.ports import free_port

HEALTHY = HostFacts(state="/mesh", running=True)
DAY = 86_400.0
Expected = list[tuple[str, str]]
"""The check and the severity of each finding."""

MIB = 1024 * 1024


def _status(*kinds: ProblemKind, store: str = "ok") -> dict[str, Any]:
    problems = tuple(
        MeshProblem(severity="error", kind=kind, subject="a-1", message="is bad") for kind in kinds
    )
    verdict = Verdict(healthy=not problems, problems=problems)
    return Status.model_validate({"revision": 1, "store": store, "verdict": verdict}).model_dump(mode="json")


MESH = MeshFacts(clock_offset=0.0, now=1000.0, status=_status(), proxies=())
TOKEN = {"id": "t1", "role": "service", "name": "orders", "revoked": False, "expires": 1000.0 + 30 * DAY}
PROXY = {"name": "a-1", "service": "a", "connected": True, "reported": False}


def _findings(facts: Facts) -> Expected:
    findings = diagnose(facts)
    assert all(finding.message and finding.why and finding.action for finding in findings)
    return [(finding.check, finding.severity) for finding in findings]


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({}, []),
        ({"ports": (PortUse("MESH_XDS_PORT", "127.0.0.1:1", False),)}, [("ports", "error")]),
        ({"ports": (PortUse("MESH_XDS_PORT", "127.0.0.1:1", True),)}, []),
        ({"ports": (PortUse("MESH_XDS_PORT", "127.0.0.1:1", True),), "running": False}, [("ports", "error")]),
        ({"envoy_problem": "no Envoy binary"}, [("envoy", "error")]),
        ({"inotify": Usage("uid 1", 110, 128)}, [("inotify", "warning")]),
        ({"inotify": Usage("uid 1", 127, 128)}, [("inotify", "error")]),
        ({"inotify": Usage("uid 1", 60, 128)}, []),
        ({"open_files": (Usage("a-1.proxy", 900, 1024),)}, [("files", "warning")]),
        ({"open_files_limit": 1024}, [("files", "warning")]),
        ({"disk": Usage("/", 10**9 - 32 * MIB, 10**9)}, [("disk", "error")]),
        ({"disk": Usage("/", 10**9 - 256 * MIB, 10**9)}, [("disk", "warning")]),
        ({"inodes": Usage("/", 999, 1000)}, [("disk", "error")]),
        ({"left": ("agent", "store")}, [("processes", "warning")]),
        ({"strays": ("envoy (pid 7)",)}, [("processes", "warning")]),
        ({"shortcuts": (Shortcut("a-1", "b-1", "127.0.0.1:9"),)}, [("calls", "warning")]),
        ({"exposed": {"a-1": "0.0.0.0:8000"}}, [("calls", "warning")]),
        ({"admin_token_age": 400 * DAY}, [("tokens", "warning")]),
    ],
)
def test_each_fault_of_the_host_is_one_finding(facts: dict[str, Any], expected: Expected) -> None:
    assert _findings(Facts(replace(HEALTHY, **facts), MESH)) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"clock_offset": 4.0}, []),
        ({"clock_offset": -20.0}, [("clock", "warning")]),
        ({"clock_offset": 200.0}, [("clock", "error")]),
        ({"status": _status(store="degraded")}, [("store", "error")]),
        ({"status": _status("certificate")}, [("certificates", "error")]),
        ({"status": _status("proxy", "control-plane")}, [("proxies", "error"), ("control plane", "error")]),
        ({"status": _status("traffic", "fault")}, []),
        ({"stuck": ("a/a-1",)}, [("proxies", "error")]),
        ({"proxies": (PROXY,)}, [("proxies", "warning")]),
        ({"tokens": (TOKEN, TOKEN | {"revoked": True})}, [("tokens", "warning")]),
        ({"tokens": (TOKEN | {"expires": 1000.0 + DAY},)}, []),
        ({"skews": (Skew(True, "a"), Skew(False, "b"))}, [("versions", "error"), ("versions", "warning")]),
    ],
)
def test_each_fault_of_the_mesh_is_one_finding(facts: dict[str, Any], expected: Expected) -> None:
    assert _findings(Facts(HEALTHY, replace(MESH, **facts))) == expected


def test_a_control_plane_that_runs_and_does_not_answer_is_a_finding() -> None:
    assert _findings(Facts(HEALTHY, unreachable="no response")) == [("control plane", "error")]
    stopped = replace(HEALTHY, running=False)
    assert _findings(Facts(stopped, unreachable="no mesh")) == []
    assert _findings(Facts(stopped, unreachable="no route", remote=True)) == [("control plane", "error")]


def test_only_a_proxy_that_responds_to_nothing_is_stuck() -> None:
    before = {"a/a-1": 3, "b/b-1": 3, "c/c-1": 3}
    assert still_pending(before, {"a/a-1": 3, "b/b-1": 4, "d/d-1": 1}) == {"a/a-1": 3}


# --- real facts of this host ------------------------------------------------------------------------------


@contextmanager
def _python(code: str, cwd: Path | None = None, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A process that runs `code`, prints a line when it is ready, and waits for its stdin to end."""
    script = f"import sys\n{code}\nprint('ready', flush=True)\nsys.stdin.read()"
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=cwd,
        env={**os.environ, **env},
        start_new_session=True,
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def _app(name: str, port: int, pid: int) -> WorkloadStatus:
    return WorkloadStatus(
        name=name, role="service", service=name[:-2], phase="running", healthy=True,
        pids={"app": pid}, ports={"app.http": port, "outbound": 1},
    )  # fmt: skip


def test_an_app_that_calls_another_one_directly_is_seen() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_server(("0.0.0.0", 0)) as open_server,
    ):
        port, open_port = server.getsockname()[1], open_server.getsockname()[1]
        with _python(f"import socket; s = socket.create_connection(('127.0.0.1', {port}))") as caller:
            apps = {
                "a-1": _app("a-1", free_port(), caller.pid),
                "b-1": _app("b-1", port, os.getpid()),
            }
            assert shortcuts(apps) == (Shortcut("a-1", "b-1", f"127.0.0.1:{port}"),)
            assert exposed_apps(apps) == {}
            apps["b-1"] = _app("b-1", open_port, os.getpid())
            assert exposed_apps(apps) == {"b-1": f"0.0.0.0:{open_port}"}


def test_inotify_instances_are_counted() -> None:
    code = "import ctypes; c = ctypes.CDLL(None); assert all(c.inotify_init() > 0 for _ in range(20))"
    with _python(code) as process:
        counted = sum(target == "anon_inode:inotify" for target in host.open_targets(process.pid))
        assert counted == 20
        usage = host.inotify_usage()
        assert usage.used >= 20 and usage.limit > 0


def test_processes_of_old_runs_are_found(tmp_path: Path) -> None:
    state, gone = tmp_path / "state", tmp_path / "gone"
    (state / "run").mkdir(parents=True)
    state.chmod(0o700)
    gone.mkdir()
    with _python("") as left, _python("", gone, **{MARKER: "x", "MESH_STATE": ""}) as stray:
        started = psutil.Process(left.pid).create_time()
        record = ProcessRecord(name="agent", pid=left.pid, started=started, birth=birth(left.pid))
        (state / "run" / "agent.json").write_text(record.model_dump_json())
        shutil.rmtree(gone)
        facts = host.gather_host(state, {}, remote=True)
        assert facts.left == ("agent",) and not facts.running and not facts.ports
        assert any(f"(pid {stray.pid})" in text for text in facts.strays)
        assert not any(f"(pid {left.pid})" in text for text in facts.strays)
    assert not host.gather_host(state, {}, remote=True).left


async def test_a_port_in_use_and_an_old_token_are_reported(tmp_path: Path, run: RunMesh) -> None:
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    (state / "admin.token").write_text("secret")
    os.utime(state / "admin.token", (time.time() - 500 * DAY,) * 2)
    names = ("ADMIN", "XDS", "ENROLMENT", "OTLP")
    ports = {f"MESH_{name}_PORT": str(free_port()) for name in names}
    with closing(socket.create_server(("127.0.0.1", int(ports["MESH_XDS_PORT"])))):
        shown = await run("doctor", env=ports)
    assert shown.code == 1
    lines = shown.out.splitlines()
    assert f"× ports: 127.0.0.1:{ports['MESH_XDS_PORT']} is in use" in lines[0]
    assert (lines[1].startswith("  why: "), lines[2].startswith("  do:  ")) == (True, True)
    assert "change MESH_XDS_PORT" in lines[2]
    assert "admin.token is 500 days old" in shown.out and "no mesh was checked" in shown.out
    assert "secret" not in shown.out


async def test_ports_of_this_host_are_not_those_of_a_mesh_elsewhere(
    mesh: FakeMesh, run: RunMesh, tmp_path: Path
) -> None:
    env = {"XDG_CONFIG_HOME": str(tmp_path / "config"), "MESH_STATE": ""}
    added = await run("context", "add", "prod", "--api", mesh.url, "--token-file", _token(mesh), env=env)
    assert added.code == 0, added.err
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        busy = env | {"MESH_XDS_PORT": str(server.getsockname()[1])}
        here = await run("doctor", "-o", "json", env=busy)
        there = await run("--context", "prod", "doctor", "-o", "json", env=busy)
        await run("context", "use", "prod", env=env)
        in_use = await run("doctor", "-o", "json", env=busy)
    checks = [{item["check"] for item in json.loads(done.out)["items"]} for done in (here, there, in_use)]
    assert ["ports" in names for names in checks] == [True, False, False]
    assert json.loads(there.out)["mesh"] and json.loads(in_use.out)["mesh"]


async def test_a_mesh_is_asked_for_what_it_knows(mesh: FakeMesh, run: RunMesh) -> None:
    problem = MeshProblem(
        severity="warning", kind="certificate", subject="a-1", message="its certificate expires"
    )
    mesh.status = Status(
        revision=1, store="degraded", version=VERSION, verdict=Verdict(healthy=False, problems=(problem,))
    )
    mesh.details = (
        ProxyDetail(
            name="a-1", service="a", state="pending", revision=1, connected=True, reported=True,
            version="1.40.0", agent="99.0.0",
        ),
    )  # fmt: skip
    await mesh.tokens.mint("service", "orders", 20 * DAY, "me")
    done = await run("doctor", "-o", "json", env={"MESH_API": mesh.url, "MESH_TOKEN_FILE": _token(mesh)})
    document = json.loads(done.out)
    assert (done.code, document["mesh"]) == (1, True)
    messages = {item["check"]: item["message"] for item in document["items"]}
    assert {"certificates", "store", "proxies", "tokens", "versions"} <= messages.keys()
    assert messages["proxies"].startswith("a/a-1: did not ACK") and "service orders" in messages["tokens"]
    assert "clock" not in messages


def _token(mesh: FakeMesh) -> str:
    return str(mesh.state / "admin.token")
