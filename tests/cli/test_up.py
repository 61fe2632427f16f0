"""`mesh up` and `mesh down` as processes: everything started is stopped, every failure is explained."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from meshwright.cli.launch_ports import settle_ports
from meshwright.cli.up import application_to_run, launch_plan
from tests.envoy.harness import PORTS, ROOT, Mesh, application, running_mesh, service, settings, stop, until
from tests.envoy.steady_load import load
from tests.fakes.ports import free_port

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: front}]}]
"""
LONGER_ROUTE = ROUTE.replace("rules: [{", "rules: [{timeouts: {request: 20s}, ")

PARTS = {"store", "control-plane", "agent", "front-1", "front-1.proxy", "ingress.proxy"}


def descendants(state: Path) -> list[psutil.Process]:
    """Every process with the mesh's folder in its arguments, environment or working directory."""
    processes = []
    for process in psutil.process_iter():
        try:
            texts = [*process.cmdline(), process.environ().get("MESH_STATE", ""), process.cwd()]
        except psutil.Error:
            continue
        if process.status() != psutil.STATUS_ZOMBIE and any(str(state.parent) in text for text in texts):
            processes.append(process)
    return processes


def recorded(state: Path) -> dict[str, int]:
    """The pids in the state directory, by the name of the child."""
    return {path.stem: Mesh(state, None, 0, {}).pid(path.stem) for path in (state / "run").glob("*.json")}  # type: ignore[arg-type]


def runs(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def assert_all_stopped(state: Path, pids: Sequence[int]) -> None:
    assert not [pid for pid in pids if runs(pid)]
    assert not descendants(state)
    assert not recorded(state)


def application_file(
    folder: Path,
    services: Sequence[dict[str, Any]],
    port: int = 0,
    *,
    name: str = "lab",
    policies: Sequence[str] = (),
) -> Path:
    """Write an application file."""
    path = folder / "application.yaml"
    document = application(services, port or free_port(), policies)
    with path.open("w") as out:
        YAML(typ="safe").dump({**document, "metadata": {"name": name}}, out)
    return path


def mesh_command(
    *arguments: str, env: dict[str, str], timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run `mesh` to completion."""
    return subprocess.run(
        [sys.executable, "-m", "meshwright.cli", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=env,
        cwd=ROOT,
        check=False,
    )


@contextmanager
def stopped_afterwards(env: dict[str, str]) -> Iterator[None]:
    """Stop whatever the block leaves running."""
    try:
        yield
    finally:
        mesh_command("down", env=env)


def test_ctrl_c_stops_every_child_of_a_mesh_that_follows_its_sources(tmp_path: Path) -> None:
    (tmp_path / "source.txt").write_text("one")
    followed = service("front") | {"watch": ["source.txt"]}
    with running_mesh(tmp_path, [followed], ("--watch",)) as mesh:
        until(lambda: "watching" in "".join(mesh.output), "the sources are watched")
        (tmp_path / "source.txt").write_text("two, longer")
        until(lambda: "front-1 → front-2  source.txt changed" in "".join(mesh.output), "the change is seen")
        parts = {name.replace("front-1", "front-2") for name in PARTS}
        until(lambda: (now := recorded(mesh.state)).keys() == parts and all(now.values()), "it is replaced")
        pids = recorded(mesh.state)
        running = {descendant.pid for descendant in descendants(mesh.state)}
        assert running >= {*pids.values(), mesh.process.pid}
        other = application_file(tmp_path, [service("front")], name="other")
        up = partial(mesh_command, "up", "-f", str(other), env=mesh.environment)
        second = until(lambda: None if "wait until" in (done := up()).stderr else done, "a turn")
        assert second.returncode == 2
        assert "with application lab, not other" in second.stderr and "mesh down" in second.stderr
        assert len(second.stderr.strip().splitlines()) == 1
        stop(mesh)
        assert mesh.process.returncode in (0, 130)
        assert_all_stopped(mesh.state, list(pids.values()))


def test_every_child_is_stopped_after_stdout_is_closed(tmp_path: Path) -> None:
    """As when the terminal of `mesh up | tee log` is closed: the pipe is broken before the signal."""
    env = settings(tmp_path / "state")
    argv = [
        sys.executable,
        "-m",
        "meshwright.cli",
        "up",
        "-f",
        str(application_file(tmp_path, [service("front")])),
    ]
    with stopped_afterwards(env):
        process = subprocess.Popen(
            argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, cwd=ROOT, start_new_session=True
        )
        assert process.stdout is not None
        data = b""
        while b"ready in " not in data:
            line = process.stdout.readline()
            assert line, data.decode()
            data += line
        pids = recorded(tmp_path / "state")
        assert set(pids) == PARTS
        process.stdout.close()
        process.send_signal(signal.SIGHUP)
        process.wait(120)
        assert_all_stopped(tmp_path / "state", list(pids.values()))


def test_the_next_start_takes_over_what_serves_after_a_killed_parent(tmp_path: Path) -> None:
    """Requests go on from the kill to the end of the next start, and `mesh status` says who is missing."""
    with running_mesh(tmp_path, [service("front")]) as first, ExitStack() as requests:
        file = str(application_file(tmp_path, [service("front", VERSION="v2")], first.ingress_port))
        assert "front-1 → front-2" in first.run("up", "-f", file).stdout
        first.apply(ROUTE)
        orphans = recorded(first.state)
        load_result = requests.enter_context(load(tmp_path, f"http://127.0.0.1:{first.ingress_port}/echo"))
        first.process.kill()
        first.process.wait(30)
        assert runs(orphans["store"]) and runs(orphans["agent"])
        until(lambda: "mesh up` has ended" in first.run("status").stdout, "the status says so")
        env = {**first.environment, "TERM": "another-terminal"}
        with stopped_afterwards(env):
            done = mesh_command("up", "-f", file, "--detach", env=env)
            assert done.returncode == 0, done.stdout + done.stderr
            assert "its processes go on: front-2, front-2.proxy, ingress.proxy" in done.stdout
            after = recorded(first.state)
            serving = {"front-2", "front-2.proxy", "ingress.proxy"}
            assert {name: after[name] for name in serving} == {name: orphans[name] for name in serving}
            assert not [name for name in orphans.keys() - serving if runs(orphans[name])]
            requests.close()
            assert load_result.requests > 100 and load_result.failed == 0, load_result.report
            assert "mesh up` has ended" not in first.run("status").stdout
        assert_all_stopped(first.state, list(after.values()))


def takes(holder: socket.socket, port: int) -> bool:
    """Whether the socket has the port now: the threads of a killed process end after its main thread."""
    try:
        holder.bind(("127.0.0.1", port))
    except OSError:
        return False
    return True


def test_a_start_that_fails_leaves_alone_what_serves(tmp_path: Path) -> None:
    with running_mesh(tmp_path, [service("front")]) as first:
        orphans = recorded(first.state)
        first.process.kill()
        first.process.wait(30)
        with stopped_afterwards(first.environment):
            with socket.socket() as holder:
                holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                os.kill(orphans["control-plane"], signal.SIGKILL)
                until(lambda: takes(holder, int(first.environment["MESH_ADMIN_PORT"])), "the port is free")
                holder.listen()
                file = str(tmp_path / "application.yaml")
                assert mesh_command("up", "-f", file, env=first.environment).returncode == 2
            assert runs(orphans["front-1"]) and runs(orphans["front-1.proxy"])
        assert_all_stopped(first.state, list(orphans.values()))


def assert_all_free(ports: Sequence[int]) -> None:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))


def test_a_detached_mesh_follows_its_file_and_loses_no_request(tmp_path: Path) -> None:
    """Replacements, new, stopped and failing instances under load: every change of a running mesh."""
    state, port = tmp_path / "state", free_port()
    env = settings(state)
    (tmp_path / "route.yaml").write_text(ROUTE)

    def write(*services: dict[str, Any]) -> str:
        return str(application_file(tmp_path, services, port, policies=["route.yaml"]))

    def mesh(*arguments: str, code: int = 0) -> str:
        done = mesh_command(*arguments, env=env)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def running() -> set[str]:
        return {name for name in recorded(state) if re.fullmatch(r".*-\d", name)}

    file = write(service("front"), service("back"), service("other"))
    with stopped_afterwards(env):
        started = mesh("up", "-f", file, "--detach", "--only", "front,back", "--scale", "back=2")
        assert "mesh down" in started
        assert running() == {"front-1", "back-1", "back-2"}
        before = recorded(state)
        with load(tmp_path, f"http://127.0.0.1:{port}/echo") as requests:
            write(service("front", VERSION="v2"), service("back"), service("new"))
            (tmp_path / "route.yaml").write_text(LONGER_ROUTE)
            for option in ("--dry-run", "--policies"):
                output = mesh("up", option)
                assert "front-1 → front-2  env VERSION" in output
                assert ("HTTPRoute/front changed: --policies applies them" in output) == (
                    option == "--dry-run"
                )
            after = recorded(state)
            assert running() == {"front-2", "back-1", "new-1"}
            unchanged = {"store", "control-plane", "agent", "ingress.proxy", "back-1", "back-1.proxy"}
            assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
            write(service("front", VERSION="v3") | {"command": ["missing-program"]}, service("back"))
            output = mesh("up", "--only", "front", "--timeout", "30s", code=1)
            assert "front-1: stopped again" in output and "missing-program" in output
            mesh("scale", "front=3")
            assert re.search(r"back-1 +0 instances", mesh("scale", "back=0"))
            mesh("stop", "new")
            assert "did you mean front?" in mesh("scale", "frnt=1", code=2)
            mesh("scale", "front=1")
            mesh("start", "new")
            assert len(running()) == 2
        assert requests.requests > 100 and requests.failed == 0, requests.report
        pids = recorded(state)
        mesh("down")
        assert_all_free([port, *(int(env[name]) for name in env if re.fullmatch("MESH_.*_PORT", name))])
        assert_all_stopped(state, list(pids.values()))


def synced(mesh: Mesh) -> bool:
    """Whether its two sidecars have ACKed their configuration."""
    return [proxy["state"] for proxy in mesh.status()["proxies"]] == ["synced", "synced"]


def test_two_meshes_run_side_by_side_one_with_a_very_long_path(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (tmp_path / "short").mkdir()
    with (
        running_mesh(deep, [service("front")]) as mesh,
        running_mesh(
            tmp_path / "short",
            [service("front")],
            ("--ports", "auto"),
            (),
            **{name: mesh.environment[name] for name in PORTS},
        ) as other,
    ):
        for running in (mesh, other):
            assert running.get("front-1", "http://front/echo").status_code == 200
            until(partial(synced, running), "both sidecars are synced")
            until(partial(running.is_sound, proxies=2), "versions and doctor agree")
        pids = recorded(mesh.state)
        stop(mesh)
        assert_all_stopped(mesh.state, list(pids.values()))
        assert other.get("front-1", "http://front/echo").status_code == 200


def test_a_gateway_gets_a_free_port_if_its_own_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings(tmp_path / "state").items():
        monkeypatch.setenv(name, value)
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        applied = application_to_run(application_file(tmp_path, [service("front")], port), "", [], [])
        plan = settle_ports(launch_plan(applied, None, 60.0), auto=True)
    assert plan.gateways[0].port not in (0, port)
    assert plan.applied.ports == {"ingress": plan.gateways[0].port}
    assert plan.settings == launch_plan(applied, None, 60.0).settings


@pytest.mark.parametrize(
    "setting", ["MESH_ADMIN_PORT", "MESH_XDS_PORT", "MESH_ENROLMENT_PORT", "MESH_OTLP_PORT", "ingress"]
)
def test_a_port_in_use_is_reported_with_its_setting_and_holder(tmp_path: Path, setting: str) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        env = settings(tmp_path / "state", **({setting: str(port)} if setting != "ingress" else {}))
        file = application_file(tmp_path, [service("front")], port if setting == "ingress" else 0)
        done = mesh_command("up", "-f", str(file), env=env)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    for word in (str(port), setting, f"pid {os.getpid()}"):
        assert word in done.stderr
    assert_all_stopped(tmp_path / "state", [])


def test_an_app_that_crashes_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    env = settings(tmp_path / "state")
    broken = {
        **service("broken"),
        "command": [sys.executable, "-c", "raise SystemExit('no database at /nowhere')"],
    }
    with stopped_afterwards(env):
        done = mesh_command("up", "-f", str(application_file(tmp_path, [service("front"), broken])), env=env)
        assert done.returncode == 1, done.stdout
        assert "broken-1: " in done.stderr and "no database at /nowhere" in done.stderr
        assert_all_stopped(tmp_path / "state", [])


def test_a_bad_application_file_is_reported_with_its_position(tmp_path: Path) -> None:
    env = settings(tmp_path / "state")
    file = application_file(tmp_path, [{**service("front"), "replicas": "many"}])
    done = mesh_command("up", "-f", str(file), env=env)
    assert done.returncode == 2
    assert f"{file}:" in done.stderr and "replicas" in done.stderr
    assert done.stderr.partition(f"{file}:")[2].split(":")[0].isdecimal()
    assert_all_stopped(tmp_path / "state", [])


def test_a_missing_envoy_is_reported_with_its_setting(tmp_path: Path) -> None:
    env = settings(tmp_path / "state", MESH_ENVOY=str(tmp_path / "no-envoy"))
    with stopped_afterwards(env):
        done = mesh_command("up", "-f", str(application_file(tmp_path, [service("front")])), env=env)
        assert done.returncode == 2, done.stderr
        assert "MESH_ENVOY" in done.stderr and "no-envoy" in done.stderr
        assert_all_stopped(tmp_path / "state", [])


def test_a_running_store_without_a_record_prevents_a_second_one(tmp_path: Path) -> None:
    with running_mesh(tmp_path, [service("front")]) as mesh:
        store = psutil.Process(mesh.pid("store"))
        mesh.process.kill()
        mesh.process.wait(30)
        (mesh.state / "run" / "store.json").unlink()
        try:
            done = mesh_command("up", "-f", str(tmp_path / "application.yaml"), env=mesh.environment)
            assert done.returncode == 1
            assert "valkey.sock" in done.stderr
            assert store.is_running()
            assert psutil.pid_exists(mesh.pid("front-1.proxy")), "what serves is left alone"
        finally:
            store.send_signal(signal.SIGTERM)
            store.wait(30)
        mesh_command("down", env=mesh.environment)
    until(lambda: not descendants(mesh.state), "everything has ended")


def test_port_moves_a_gateway_and_only_responding_urls_are_shown(tmp_path: Path) -> None:
    env = settings(tmp_path / "state")
    port = free_port()
    with stopped_afterwards(env):
        done = mesh_command("up", "--detach", "--only", "catalog", "--port", f"ingress={port}", env=env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"curl http://127.0.0.1:{port}/api/catalog/products\n" in done.stdout
        assert "/api/orders" not in done.stdout
    wrong = mesh_command("up", "--port", "nobody=1", env=env)
    assert (wrong.returncode, wrong.stderr) == (2, "nobody: no such gateway: the application has ingress\n")
