"""`mesh upgrade` of `mesh run` and `mesh agent`: each goes on, and requests and streams too."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import pytest

from meshwright.cli.upgrade.steps import Proxy, RunningAgent, agent_steps, proxy_steps
from meshwright.sidecar.config import AGENT_CONFIG_FILE
from tests.cli.joining import Joined, command, joined, starting
from tests.cli.streams import ChunkedStream
from tests.cli.test_up import runs
from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.envoy.steady_load import load
from tests.fakes.ports import free_port

APP = (sys.executable, "-m", "tests.fakes.app")

ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: shop}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: remote}
spec:
  parentRefs: [{kind: Gateway, name: edge}]
  rules: [{backendRefs: [{name: remote}]}]
"""

STREAM_SECONDS = 40


def test_an_agent_that_cannot_be_replaced_is_named_with_what_to_do() -> None:
    agents = [RunningAgent("a", "0.2.0", "start it again"), RunningAgent("b", "0.1.0"), RunningAgent("c", "")]
    steps = agent_steps(agents, "0.2.0", force=False)
    assert [(step.part, step.action, step.note) for step in steps] == [
        ("agent of a", "unchanged", ""), ("agent of b", "replace", ""), ("agent of c", "replace", ""),
    ]  # fmt: skip
    (forced,) = agent_steps(agents[:1], "0.2.0", force=True)
    assert (forced.action, forced.note) == ("leave", "start it again")


def test_an_envoy_beside_an_app_of_someone_else_is_not_replaced_with_it() -> None:
    proxy = Proxy("a", "shop", "service", "1.39.0", "protocols differ", replaceable=False)
    (step,) = proxy_steps([proxy], "1.40.0", force=False, gateways=True)
    assert (step.action, step.note) == ("leave", "protocols differ: start a again")


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front")]) as running:
        yield running
        running.run("down")  # the `mesh up` of an upgrade is in the background


@contextmanager
def agent(mesh: Mesh, name: str, *arguments: str) -> Iterator[Joined]:
    """A running `mesh agent` that picks free ports."""
    free = ("--outbound-port", "0", "--inbound-port", "0", "--ready-port", "0")
    argv = command("agent", "--instance", name, "--state", str(mesh.state), *free, *arguments)
    with starting(mesh, name, mesh.state, argv) as instance:
        yield instance


@contextmanager
def app(port: int) -> Iterator[None]:
    """An app that the mesh does not start."""
    process = subprocess.Popen([*APP, "--port", str(port)], stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def test_agents_and_their_envoys_are_replaced_under_load_and_streams(mesh: Mesh, tmp_path: Path) -> None:
    remote, edge = free_port(), free_port()
    mesh.apply(ROUTES)
    with ExitStack() as stack:
        stack.enter_context(app(remote))
        health = ("--health", "/health/ready", "--health-interval", "1s")
        parts = [
            stack.enter_context(
                joined(mesh, "shop-1", "shop", "--port", "0", "--concurrency", "2", *health, run=APP)
            ),
            stack.enter_context(
                agent(mesh, "remote-1", "--service", "remote", "--port", str(remote), *health)
            ),
            stack.enter_context(agent(mesh, "edge-1", "--gateway", "edge", "--listener", f"http={edge}")),
        ]
        ports = (mesh.ingress_port, edge)
        before = [part.status() for part in parts]
        with ExitStack() as traffic:
            loads = []
            for port in ports:
                folder = tmp_path / str(port)
                folder.mkdir()
                loads.append(traffic.enter_context(load(folder, f"http://127.0.0.1:{port}/echo")))
            streams = [ChunkedStream(port, STREAM_SECONDS) for port in ports]
            for stream in streams:
                stream.start()
                until(lambda: stream.lines or stream.outcome, "the stream began")  # noqa: B023
            upgrade(mesh, parts, "5 of 10 parts replaced", "--force")
            assert [part.status().pids for part in parts] == [status.pids for status in before]
            upgrade(mesh, parts, "5 of 10 parts replaced", "--envoys")
            for part, status in zip(parts, before, strict=True):
                assert part.pid("proxy") != status.pids["proxy"]
                assert part.status().pids.get("app") == status.pids.get("app")
                assert part.status().ports == status.ports
            for stream in streams:
                stream.join(STREAM_SECONDS * 4)
                assert stream.outcome == "end", (stream.outcome, stream.lines)
        for result in loads:
            assert result.requests > 500 and result.failed == 0, result.report
        assert "shop-1 goes on with Meshwright" in parts[0].error.read_text()
        pids = [pid for part in parts for pid in part.status().pids.values()]
        assert parts[0].stop(signal.SIGTERM) in (0, 128 + signal.SIGTERM)
        assert [part.stop() for part in parts[1:]] == [0, 0]
        assert not [pid for pid in pids if runs(pid)]
        assert not any(part.folder.exists() for part in parts)


def upgrade(mesh: Mesh, parts: list[Joined], summary: str, *arguments: str) -> None:
    """`mesh upgrade` of everything; the agents of `parts` are the same processes afterwards."""
    pids = [part.process.pid for part in parts]
    done = mesh.run("upgrade", *arguments)
    assert summary in done.stdout, done.stdout + done.stderr
    assert [part.process.poll() for part in parts] == [None] * len(parts)
    assert all(psutil.Process(pid).is_running() for pid in pids)
    until(lambda: all(part.healthy() for part in parts), "healthy")
    until(lambda: mesh.is_sound(proxies=5), "the mesh is sound", every=0.5)


def test_the_exit_code_of_the_process_is_known_after_its_agent_was_replaced(mesh: Mesh) -> None:
    script = "import sys, time; time.sleep(3600)"
    with joined(mesh, "job-1", "job", run=(sys.executable, "-c", script)) as job:
        assert "agent of job-1" in mesh.run("upgrade", "--force").stdout
        psutil.Process(job.pid("app")).send_signal(signal.SIGKILL)
        assert job.process.wait(60) == 128 + signal.SIGKILL
        assert "killed by SIGKILL" in job.error.read_text()
        assert not job.folder.exists()


def test_an_instance_of_a_version_that_cannot_hand_over_goes_on(mesh: Mesh) -> None:
    with joined(mesh, "old-1", "old", "--port", "0", run=APP) as old:
        (old.folder / AGENT_CONFIG_FILE).rename(old.folder / "aside.json")
        done = mesh.run("upgrade", "--force", "--dry-run")
        assert "its version cannot be replaced in place: start it again" in done.stdout
        (old.folder / AGENT_CONFIG_FILE).write_text('{"from": "a later version"}')
        done = mesh.run("upgrade", "--force")
        assert "does not understand its configuration: start it again" in done.stdout
        assert old.process.poll() is None and old.healthy()
