"""Runs the containers of docker-compose.yml without a container engine, in namespaces of Linux.

Each container has its command, environment and mounts, its own root and loopback, and the names of the
others in /etc/hosts. Instead of the files of its image it sees those of this host, with the Python
environment of the tests first in PATH. All run as root, so volumes are not handed over to another user. Needs
root, iproute2 and util-linux.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from tests.deploy import compose_file
from tests.deploy.network import Network, second_address
from tests.envoy.harness import ROOT, until

STOP_TIMEOUT = 45.0

POLL_INTERVAL = 0.5
"""Seconds between two health checks of a container: each starts a process."""

PRIVATE_FOLDERS = ("etc", "var", "run", "tmp", "proc", "mnt", "media")
"""Top-level folders that each container has to itself. The others are those of this host."""


@dataclass(frozen=True)
class Image:
    """The configuration of the image, from the Dockerfile."""

    environment: Mapping[str, str]
    healthcheck: tuple[str, ...]
    folder: str

    @classmethod
    def read(cls, path: Path) -> Image:
        """ENV, HEALTHCHECK and WORKDIR of the last stage."""
        text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
        stage = text[text.rindex("FROM ") :]
        assigned = " ".join(re.findall(r"^ENV (.*)$", stage, re.MULTILINE))
        health = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", stage, re.MULTILINE)
        folder = re.search(r"^WORKDIR (\S+)$", stage, re.MULTILINE)
        assert health and folder
        environment = dict(entry.split("=", 1) for entry in shlex.split(assigned))
        return cls(environment, tuple(eval(health[1])), folder[1])  # noqa: S307  a JSON list in our file


@dataclass
class Container:
    """The container of a service; `process` is set once it is started."""

    name: str
    service: compose_file.Service
    log: Path
    root: Path
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str = "/"
    process: subprocess.Popen[bytes] | None = None
    is_healthy: bool = False

    def inside(self, *argv: str) -> list[str]:
        """A command line that runs in the container."""
        assert self.process is not None
        names = [f"{name}={value}" for name, value in self.environment.items()]
        enter = ["nsenter", "-t", str(self.process.pid), "-m", "-n", "-r"]
        return [*enter, "env", "-i", *names, *argv]

    @property
    def has_completed(self) -> bool:
        """Whether its command has ended well; fails if it has ended otherwise."""
        code = None if self.process is None else self.process.poll()
        assert not code, f"{self.name} exited with {code}: {self.log.read_text()[-3000:]}"
        return code == 0

    def stop(self) -> None:
        """Stop it as an engine does: SIGTERM, and in the end SIGKILL for all that is left."""
        assert self.process is not None
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_TIMEOUT)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(60)

    def run(self, *argv: str, within: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command in the container."""
        return subprocess.run(self.inside(*argv), capture_output=True, text=True, timeout=within, check=False)

    def check_health(self, check: Sequence[str]) -> bool:
        """Whether its health check has passed once; fails if the container has exited."""
        assert self.process is not None
        code = self.process.poll()
        assert code is None, f"{self.name} exited with {code}: {self.log.read_text()[-3000:]}"
        if self.is_healthy:
            return True
        argv = ["sh", "-c", check[1]] if check[0] == "CMD-SHELL" else list(check[1:])
        try:
            self.is_healthy = self.run(*argv, within=10).returncode == 0
        except subprocess.TimeoutExpired:
            return False
        return self.is_healthy


@dataclass
class Engine:
    """The containers of docker-compose.yml in `project`. `programs` replace the images of other projects."""

    project: Path
    scratch: Path
    services: Mapping[str, compose_file.Service]
    programs: Mapping[str, Sequence[str]]
    containers: dict[str, Container] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.image = Image.read(self.project / "deploy" / "Dockerfile")
        self.network = Network(
            sorted({compose_file.network_owner(self.services, name) for name in self.services})
        )

    def hosts(self) -> str:
        """The /etc/hosts of every container.

        An alias of several containers resolves to their second addresses: c-ares, the resolver of gRPC and
        Envoy, merges all lines that share a name or an address into one host.
        """
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        for name, address in self.network.addresses.items():
            networks = self.services[name].get("networks", {})
            aliases = networks.get("default", {}).get("aliases", []) if isinstance(networks, dict) else []
            lines += [f"{address} {name}", *(f"{second_address(address)} {alias}" for alias in aliases)]
        return "\n".join([*lines, ""])

    # --- containers -------------------------------------------------------------------------------

    def start(self, name: str, *command: str) -> Container:
        """Start a container without its dependencies, with another `command` if one is given."""
        service = self.services[name]
        is_ours = service["image"] == "meshwright"
        argv = [*self.programs.get(service["image"], ()), *(command or service.get("command", ()))]
        base = {"PATH": f"{Path(sys.executable).parent}:{self.scratch}/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        defaults = {**self.image.environment, **base} if is_ours else base
        container = Container(
            name,
            service,
            self.scratch / f"{name}.log",
            self.scratch / "roots" / name,
            tuple(argv),
            {**defaults, **compose_file.environment(service), **({"OWNER": "0"} if name == "init" else {})},
            self.image.folder if is_ours else "/",
        )
        container.root.mkdir(parents=True, exist_ok=True)
        script = self.scratch / f"{name}.sh"
        script.write_text(self._script(container))
        enter = [*self.network.enter(compose_file.network_owner(self.services, name)), "unshare", "-m"]
        with container.log.open("wb") as log:
            container.process = subprocess.Popen(
                [*enter, "sh", str(script)],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self.containers[name] = container
        return container

    def _script(self, container: Container) -> str:
        """A shell script that builds the root and runs the command in it."""
        root = shlex.quote(str(container.root))
        lines = [
            "set -e",
            "mount --make-rprivate /",
            f"mount -t tmpfs -o mode=755 tmpfs {root}",
            f"cd {root}",
        ]
        for path in sorted(Path("/").iterdir()):
            if path.is_symlink():
                lines.append(f"cp -a {path} .")
            elif path.is_dir() and path.name not in PRIVATE_FOLDERS:
                lines.append(f"mkdir {path.name} && mount --rbind {path} {path.name}")
        lines += [
            "mkdir -p proc var/lib var/run run mnt tmp",
            "chmod 1777 tmp var/run",
            "mount --rbind /proc proc",
        ]
        lines += ["cp -a /etc etc", "rm -f etc/hosts", f"cat > etc/hosts <<'END'\n{self.hosts()}END"]
        lines += ["install -d -m 1777 var/lib/meshwright run/tokens", f"mkdir -p .{container.folder}"]
        for path in self._shared_folders():
            lines.append(f"mkdir -p .{path} && mount --rbind {path} .{path}")
        for source, target, read_only in compose_file.mounts(container.service, container.name):
            lines += self._mount(self._source(source), target, read_only=read_only)
        assigned = " ".join(shlex.quote(f"{name}={value}") for name, value in container.environment.items())
        command = " ".join(map(shlex.quote, container.argv))
        script = f'cd {container.folder} && exec "$@"'
        lines.append(f"exec chroot {root} env -i {assigned} sh -c {shlex.quote(script)} sh {command}")
        return "\n".join([*lines, ""])

    def _shared_folders(self) -> list[Path]:
        """Folders of this host that programs need, and that private folders would hide."""
        needed = {Path(sys.prefix), Path(sys.base_prefix), ROOT, self.scratch / "bin"}
        return sorted(path for path in needed if path.parts[1] in PRIVATE_FOLDERS)

    def _source(self, source: str) -> Path:
        if source.startswith("."):
            return self.project / source
        folder = self.scratch / "volumes" / source
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o1777)
        return folder

    @staticmethod
    def _mount(source: Path, target: str, *, read_only: bool) -> list[str]:
        assert source.exists(), source
        mount_point = (
            f"mkdir -p .{target}"
            if source.is_dir()
            else f"mkdir -p .{Path(target).parent} && touch .{target}"
        )
        lines = [mount_point, f"mount --bind {shlex.quote(str(source))} .{target}"]
        return [*lines, f"mount -o remount,bind,ro .{target}"] if read_only else lines

    # --- lifecycle -------------------------------------------------------------------------------------

    def health_check(self, name: str) -> Sequence[str]:
        """The health check of a service, else that of our image; empty if it is off or another image's."""
        service = self.services[name]
        declared = service.get("healthcheck", {})
        if declared.get("disable"):
            return ()
        inherited = ("CMD", *self.image.healthcheck) if service["image"] == "meshwright" else ()
        test: Sequence[str] = declared.get("test", inherited)
        return test

    def _may_start(self, name: str) -> bool:
        dependencies = self.services[name].get("depends_on", {})
        for other, dependency in dependencies.items():
            if other not in self.containers:
                return False
            container, condition = self.containers[other], dependency["condition"]
            if condition == "service_completed_successfully" and not container.has_completed:
                return False
            if condition == "service_healthy" and not container.check_health(self.health_check(other)):
                return False
        return True

    def up(self, within: float = 180.0) -> None:
        """Start all containers in the order of their dependencies, and wait until they are healthy."""

        def started() -> bool:
            for name in self.services:
                if name not in self.containers and self._may_start(name):
                    self.start(name)
            return len(self.containers) == len(self.services)

        until(started, "all containers are started", within, POLL_INTERVAL)
        for name, container in self.containers.items():
            check = self.health_check(name)
            if check:
                until(partial(container.check_health, check), f"{name} is healthy", within, POLL_INTERVAL)

    def down(self) -> None:
        """Stop all containers, the last started first."""
        running = [container for container in reversed(self.containers.values()) if container.process]
        for container in running:
            if container.process:
                container.process.terminate()
        for container in running:
            container.stop()


@contextmanager
def engine(
    project: Path, scratch: Path, programs: Mapping[str, Sequence[str]], leave_out: Sequence[str] = ()
) -> Iterator[Engine]:
    """Run the docker-compose.yml of `project` without the services in `leave_out`."""
    file = compose_file.read(project / "docker-compose.yml")
    services = {name: service for name, service in file["services"].items() if name not in leave_out}
    running = Engine(project, scratch, services, programs)
    try:
        running.network.create()
        running.up()
        yield running
    finally:
        running.down()
        running.network.delete()
