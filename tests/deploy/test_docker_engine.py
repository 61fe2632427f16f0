"""docker-compose.yml on a real Docker Engine: the first `up`, and every verb of a day, end in a working mesh.

Once on the oldest supported engine with the classic image store, once on a current one with containerd's.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.deploy.docker_engine import SIDECAR_FILE, DockerEngine, Stack, running_engine, started_stack
from tests.envoy.harness import until
from tests.tui.terminal import dashboard_exit_code

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

PAIR = (SIDECAR_FILE,)


@pytest.fixture(scope="module", params=["trixie", "sid"])
def engine(request: pytest.FixtureRequest) -> Iterator[DockerEngine]:
    with running_engine(request.param) as started:
        yield started


@pytest.fixture(scope="module")
def stack(engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A project that has started by the documented command, on an engine without the image."""
    with started_stack(engine, tmp_path_factory.mktemp("engine")) as stack:
        yield stack


def test_first_up_serves_orders(stack: Stack) -> None:
    stack.wait_until_orders_succeed()
    assert stack.proxy_states() == {"synced"}


async def test_dashboard_opens_in_a_container(stack: Stack, tmp_path: Path) -> None:
    command = stack.command("compose", "exec", "control-plane-1", "mesh", "dash")
    assert await dashboard_exit_code(tmp_path, [*command], stack.environment) == 0


def test_bake_reads_the_file(stack: Stack) -> None:
    bake = json.loads(stack.docker("buildx", "bake", "-f", "docker-compose.yml", "--print"))
    assert bake["target"]["init"]["tags"] == ["meshwright"]


def test_records_name_who_acted_in_a_container(stack: Stack) -> None:
    (first,) = json.loads(stack.mesh("history", "-o", "json"))["items"]
    assert first["author"] == "mesh@setup"
    create = ("mesh", "token", "create", "--service", "orders", "--out", "-")
    for setting, author in ((), "mesh@control-plane-2"), (("-e", "MESH_AUTHOR=ada"), "ada"):
        stack.compose("exec", "-T", *setting, "control-plane-2", *create)
        newest = json.loads(stack.mesh("token", "list", "-o", "json"))["items"][0]
        assert newest["author"] == author


def test_up_without_a_change_replaces_nothing(stack: Stack) -> None:
    before = stack.containers()
    stack.compose("up", "-d")
    assert stack.containers() == before
    stack.compose("up", "-d", "--build")
    assert stack.containers() == before


def test_changed_code_keeps_the_layer_of_dependencies(stack: Stack) -> None:
    changed = stack.folder / "services/catalog/changed.py"
    changed.write_text("")
    try:
        build = ("--progress", "plain", "-f", "deploy/Dockerfile", "-t", "meshwright:changed", ".")
        done = stack.attempt("buildx", "build", *build, within=900)
    finally:
        changed.unlink()
    assert done.returncode == 0, done.stderr
    (number,) = re.findall(r"^#(\d+) \[.*RUN python -m venv", done.stderr, re.MULTILINE)
    (wheel,) = re.findall(r"^#(\d+) \[.*RUN .*pip wheel", done.stderr, re.MULTILINE)
    assert f"#{number} CACHED" in done.stderr
    assert f"#{wheel} CACHED" not in done.stderr


def revision_numbers(stack: Stack) -> list[int]:
    """The revisions of the mesh, newest first."""
    return [entry["revision"] for entry in json.loads(stack.mesh("history", "-o", "json"))["items"]]


def restart_one(stack: Stack) -> None:
    stack.compose("restart", "orders")


def restart_all(stack: Stack) -> None:
    stack.compose("restart")


def restart_infrastructure(stack: Stack) -> None:
    stack.compose("restart", "valkey", "postgres", "control-plane-1", "setup", "prometheus")


def stop_and_start_all(stack: Stack) -> None:
    stack.compose("stop")
    stack.compose("start")


def stop_and_start_one(stack: Stack) -> None:
    stack.compose("stop", "orders")
    stack.compose("start", "orders")


def stop_and_up_one(stack: Stack) -> None:
    stack.compose("stop", "catalog")
    stack.compose("up", "-d")


def kill_one(stack: Stack) -> None:
    stack.compose("kill", "orders")
    stack.compose("up", "-d")


def crash_of_mesh_run(stack: Stack) -> None:
    os.kill(stack.main_process("orders"), signal.SIGKILL)


def restart_of_the_engine(stack: Stack) -> None:
    stack.engine.stop()
    stack.engine.start()


def down_and_up(stack: Stack) -> None:
    stack.compose("down")
    stack.compose("up", "-d", "--wait")


@pytest.mark.parametrize(
    "act",
    [
        restart_one,
        restart_all,
        restart_infrastructure,
        stop_and_start_all,
        stop_and_start_one,
        stop_and_up_one,
        kill_one,
        crash_of_mesh_run,
        restart_of_the_engine,
        down_and_up,
    ],
)
def test_mesh_works_again_without_a_person(stack: Stack, act: Callable[[Stack], None]) -> None:
    revisions = revision_numbers(stack)
    act(stack)
    stack.wait_until_orders_succeed()
    for service in ("orders", "catalog", "trading"):
        stack.wait_until_healthy(service)
    assert revision_numbers(stack) == revisions


def test_scale_adds_and_removes_instances(stack: Stack) -> None:
    stack.compose("up", "-d", "--scale", "orders=3")
    stack.wait_until_healthy("orders", 3)
    stack.compose("up", "-d", "--scale", "orders=1")
    stack.wait_until_healthy("orders")
    stack.wait_until_orders_succeed()
    until(lambda: stack.proxy_states() == {"synced"}, "stopped instances are not listed", 45, 2.0)


@pytest.mark.parametrize("name", ["valkey", "postgres", "control-plane-2", "ingress"])
def test_second_copy_that_would_share_state_is_refused(stack: Stack, name: str) -> None:
    before = stack.containers()
    refused = stack.attempt("compose", "up", "-d", "--scale", f"{name}=2")
    assert refused.returncode != 0
    assert name in refused.stderr
    assert stack.containers() == before


def test_either_half_of_a_pair_may_restart(stack: Stack) -> None:
    stack.compose("up", "-d", "--wait", files=PAIR)
    stack.wait_until_healthy("trading")
    for argv in (
        ("restart", "trading-sidecar"),
        ("restart", "trading"),
        ("restart", "trading", "trading-sidecar"),
    ):
        stack.compose(*argv, files=PAIR)
        stack.wait_until_healthy("trading")
    stack.compose("stop", "trading-sidecar", files=PAIR)
    stack.compose("up", "-d", files=PAIR)
    stack.wait_until_healthy("trading")
    os.kill(stack.main_process("trading-sidecar"), signal.SIGKILL)
    stack.wait_until_healthy("trading")
    stack.compose("up", "-d", "--remove-orphans", "--wait")
    stack.wait_until_healthy("trading")


def test_changed_source_replaces_its_service(stack: Stack, tmp_path: Path) -> None:
    with stack.watching(["orders"], tmp_path / "watch.log"):
        others = stack.containers() - stack.containers("orders")
        (stack.folder / "services/orders/changed.py").write_text("")
        imports = ("python", "-c", "import meshwright.services.orders.changed")
        check = ("compose", "exec", "-T", "orders", *imports)
        until(lambda: stack.attempt(*check).returncode == 0, "the container has the change", 600, 2.0)
        stack.wait_until_orders_succeed()
        assert stack.containers() - stack.containers("orders") == others
    stack.compose("up", "-d", "--wait")
    stack.wait_until_orders_succeed()


def test_down_with_volumes_starts_over(stack: Stack) -> None:
    token = stack.compose("exec", "-T", "control-plane-1", "cat", "/run/secrets/read.token")
    stack.compose("down", "-v")
    stack.compose("up", "-d", "--wait")
    stack.wait_until_orders_succeed()
    assert revision_numbers(stack) == [1]
    assert stack.compose("exec", "-T", "control-plane-1", "cat", "/run/secrets/read.token") != token


def test_older_engine_names_the_version_that_is_needed(stack: Stack, tmp_path: Path) -> None:
    """Compose refuses `start_interval` there."""
    empty = tmp_path / "empty.tar"
    tarfile.open(empty, "w").close()
    with running_engine("bookworm") as old:
        environment = {**stack.environment, "DOCKER_HOST": old.environment["DOCKER_HOST"]}

        def docker(*argv: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run(
                stack.command(*argv),
                cwd=stack.folder,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
                check=False,
            )

        for tag in ("meshwright", "valkey/valkey:8.1"):
            docker("import", str(empty), tag).check_returncode()
        refused = docker("compose", "create", "--no-build", "--pull", "never", "valkey")
        docker("compose", "down", "-v").check_returncode()
    assert refused.returncode != 0
    assert "require Docker Engine v25 or later" in refused.stderr
