"""A real Docker Engine, and docker-compose.yml on it. Needs root, mmdebstrap, runc and iptables."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.envoy.harness import ROOT, until
from tests.fakes.ports import free_port
from tests.services.ingress import authorization

SIDECAR_FILE = "deploy/compose/sidecar.yml"
WATCH_FILE = "deploy/compose/watch.yml"

PORTS = ("INGRESS", "ADMIN", "PROMETHEUS", "ALERTMANAGER", "GRAFANA", "JAEGER")


@dataclass(frozen=True)
class DockerEngine:
    """An engine in `folder`, with the environment of its client."""

    suite: str
    folder: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """The client of this engine comes first in PATH."""
        programs = f"{self.folder}/root/usr/bin:{self.folder}/root/usr/sbin"
        return {
            **os.environ,
            "PATH": f"{programs}:{os.environ['PATH']}",
            "DOCKER_HOST": f"unix://{self.folder}/docker.sock",
            "DOCKER_CONFIG": f"{self.folder}/config",
            # With attestations every build of the same files has another digest.
            "BUILDX_NO_DEFAULT_ATTESTATIONS": "1",
        }

    def start(self) -> None:
        """Start it; the first time it is unpacked, and its base images are made."""
        script = ROOT / "tests/deploy/engine/start.sh"
        done = subprocess.run(
            [script, self.suite, self.folder], capture_output=True, text=True, timeout=1800, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]

    def stop(self) -> None:
        """Stop it with all containers, as a reboot does."""
        os.kill(int((self.folder / "dockerd.pid").read_text()), signal.SIGTERM)
        until(lambda: not (self.folder / "dockerd.pid").exists(), "the engine has stopped", 120, 0.5)


@dataclass(frozen=True)
class Stack:
    """docker-compose.yml of `folder` as a project of its own, on free ports."""

    engine: DockerEngine
    name: str
    ports: Mapping[str, int]
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of docker commands: this project, its ports."""
        ports = {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        return {**self.engine.environment, "COMPOSE_PROJECT_NAME": self.name, **ports}

    def command(self, *argv: str) -> list[str]:
        """The command line of a docker command."""
        return [f"{self.engine.folder}/root/usr/bin/docker", *argv]

    def attempt(self, *argv: str, within: float = 300.0) -> subprocess.CompletedProcess[str]:
        """A docker command that may fail."""
        return subprocess.run(
            self.command(*argv),
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=within,
            check=False,
        )

    def docker(self, *argv: str, within: float = 300.0) -> str:
        """The output of a docker command; fails with its messages."""
        done = self.attempt(*argv, within=within)
        assert done.returncode == 0, f"{argv}: {done.stdout[-1000:]}{done.stderr[-3000:]}"
        return done.stdout

    def compose(self, *argv: str, files: tuple[str, ...] = (), within: float = 600.0) -> str:
        """The output of a docker compose command."""
        options = [option for file in ("docker-compose.yml", *files) for option in ("-f", file)]
        try:
            return self.docker("compose", *options, *argv, within=within)
        except AssertionError:
            print(self.docker("compose", *options, "ps", "--all"))  # noqa: T201  shown if the test fails
            print(self.docker("compose", *options, "logs", "--tail", "20"))  # noqa: T201
            raise

    @contextmanager
    def watching(self, services: Sequence[str], log: Path) -> Iterator[None]:
        """`docker compose watch` of some services, with its output in `log`; from when it watches."""
        files = ("-f", "docker-compose.yml", "-f", WATCH_FILE)
        argv = self.command("compose", *files, "watch", *services)
        with log.open("wb") as output:
            watch = subprocess.Popen(
                argv, cwd=self.folder, env=self.environment, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            until(lambda: "Watch enabled" in log.read_text(), f"it watches: {log}", 900, 1.0)
            yield
        finally:
            watch.send_signal(signal.SIGINT)
            watch.wait(120)

    def mesh(self, *argv: str) -> str:
        """The output of a mesh command in the first control plane's container."""
        return self.compose("exec", "-T", "control-plane-1", "mesh", *argv)

    def containers(self, *services: str) -> frozenset[str]:
        """The ids of the running containers of some services, or of all."""
        return frozenset(self.compose("ps", "-q", "--no-trunc", *services).split())

    def main_process(self, service: str) -> int:
        """The process whose end ends the container, below its init if it has one, as this host numbers it."""
        container = self.compose("ps", "-q", service).strip()
        state = json.loads(self.docker("inspect", "-f", "{{json .}}", container))
        first: int = state["State"]["Pid"]
        if not state["HostConfig"].get("Init"):
            return first
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return int(children[0])

    def not_running(self) -> frozenset[str]:
        """The services, but init, whose container does not run or is not healthy."""
        lines = self.compose("ps", "--all", "--format", "json").splitlines()
        containers = [json.loads(line) for line in lines]
        return frozenset(
            container["Service"]
            for container in containers
            if container["Service"] != "init"
            and (container["State"] != "running" or container["Health"] not in ("", "healthy"))
        )

    def url(self, path: str) -> str:
        """A URL at the ingress."""
        return f"http://127.0.0.1:{self.ports['INGRESS']}{path}"

    def healthy(self, service: str) -> tuple[int, int]:
        """The healthy instances of a service, and all. One whose instances stopped is idle, or forgotten."""
        services = json.loads(self.mesh("status", "--all", "-o", "json"))["services"]
        counts = {entry["name"]: (entry["healthy"], entry["instances"]) for entry in services}
        return counts.get(service, (0, 0))

    def proxy_states(self) -> frozenset[str]:
        """The states of all proxies that are listed."""
        proxies = json.loads(self.mesh("status", "-o", "json"))["proxies"]
        return frozenset(proxy["state"] for proxy in proxies)

    def wait_until_healthy(self, service: str, instances: int = 1) -> None:
        """Wait until a service has exactly so many instances, all healthy."""
        expected = (instances, instances)
        until(lambda: self.healthy(service) == expected, f"{service} has {expected}", 180, 2.0)

    def wait_until_orders_succeed(self) -> None:
        """Wait until new orders are accepted at the ingress, several times in a row."""
        until(lambda: all(self._order() == 201 for _ in range(5)), "orders are accepted", 180, 1.0)

    def _order(self) -> int:
        """The status of a new order; 0 if there is no response."""
        body = {"items": [{"productId": "seed-plate", "quantity": 1}], "cardToken": "tok"}
        base_url = f"http://127.0.0.1:{self.ports['INGRESS']}"
        headers = {"content-type": "application/json", "Idempotency-Key": uuid4().hex}
        headers |= authorization(base_url)
        url = f"{base_url}/api/orders"
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  http
        try:
            with urllib.request.urlopen(request, timeout=15) as response:  # noqa: S310  http
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0


@contextmanager
def running_engine(suite: str) -> Iterator[DockerEngine]:
    """The engine of a Debian suite. Its folder stays, so that the next run starts faster."""
    engine = DockerEngine(suite, Path(f"/var/tmp/mesh-engine-{suite}"))  # noqa: S108  a cache, of root only
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


@contextmanager
def started_stack(engine: DockerEngine, folder: Path) -> Iterator[Stack]:
    """A project that has started by the documented command, on an engine without the image.

    It is started in a copy of the repository in `folder`, whose sources a test may change.
    """
    copy = folder / "copy"
    ignored = shutil.ignore_patterns(".git", ".venv", ".*_cache", "__pycache__", "node_modules", "site")
    shutil.copytree(ROOT, copy, ignore=ignored)
    with new_stack(engine, copy) as stack:
        stack.docker("image", "rm", "--force", "meshwright")
        stack.compose("up", "--build", "-d", "--wait", within=1200)
        yield stack


@contextmanager
def new_stack(engine: DockerEngine, folder: Path) -> Iterator[Stack]:
    """An empty project in a copy of the repository, removed at the end with its volumes."""
    stack = Stack(engine, f"mesh-{uuid4().hex[:8]}", {name: free_port() for name in PORTS}, folder)
    try:
        yield stack
    finally:
        stack.compose("down", "-v", "--remove-orphans", files=(SIDECAR_FILE,))
