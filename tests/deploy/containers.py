"""Runs the containers of docker-compose.yml without an engine: each in a network and a root of its own.

What a container would see is there: its command, its environment, its mounts, names of the others in
/etc/hosts, a loopback of its own. What is not: the image's files. In their stead this host's are seen, with
the environment that the tests run in first in PATH. It takes root, iproute2 and util-linux.
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
from typing import Any

from tests.deploy import composed
from tests.deploy.network import Network, second
from tests.envoy.harness import ROOT, until

STOP_WITHIN = 45.0

LOOK_EVERY = 0.5
"""Seconds between looks whether a container is well: a look costs a process."""

OWN = ("etc", "var", "run", "tmp", "proc", "mnt", "media")
"""Folders of the root that a container has to itself; the others are this host's."""


@dataclass(frozen=True)
class Image:
    """What the Dockerfile says that a container of it has."""

    environment: Mapping[str, str]
    healthcheck: tuple[str, ...]
    folder: str

    @classmethod
    def read(cls, path: Path) -> Image:
        """The last stage's ENV, HEALTHCHECK and WORKDIR."""
        text = re.sub(r"^\s*#.*\n", "", path.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
        stage = text[text.rindex("FROM ") :]
        assigned = " ".join(re.findall(r"^ENV (.*)$", stage, re.MULTILINE))
        health = re.search(r"^HEALTHCHECK .*?CMD (\[.*\])$", stage, re.MULTILINE)
        folder = re.search(r"^WORKDIR (\S+)$", stage, re.MULTILINE)
        assert health and folder
        named = dict(item.split("=", 1) for item in shlex.split(assigned))
        return cls(named, tuple(eval(health[1])), folder[1])  # noqa: S307  our own file, JSON of strings


@dataclass
class Container:
    """One service of the file; `process` once it was started."""

    name: str
    service: composed.Service
    log: Path
    root: Path
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    folder: str = "/"
    process: subprocess.Popen[bytes] | None = None
    well: bool = False

    def inside(self, *argv: str) -> list[str]:
        """A command line that runs in it."""
        assert self.process is not None
        names = [f"{name}={value}" for name, value in self.environment.items()]
        enter = ["nsenter", "-t", str(self.process.pid), "-m", "-n", "-r"]
        return [*enter, "env", "-i", *names, *argv]

    def run(self, *argv: str, within: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return subprocess.run(self.inside(*argv), capture_output=True, text=True, timeout=within, check=False)

    def healthy(self, check: Sequence[str]) -> bool:
        """Whether it runs and its health check has passed once: each check is a process of its own."""
        assert self.process is not None
        code = self.process.poll()
        assert code is None, f"{self.name} ended with {code}: {self.log.read_text()[-3000:]}"
        if self.well:
            return True
        words = ["sh", "-c", check[1]] if check[0] == "CMD-SHELL" else list(check[1:])
        try:
            self.well = self.run(*words, within=10).returncode == 0
        except subprocess.TimeoutExpired:
            return False
        return self.well


@dataclass
class Engine:
    """The containers of one file in `project`, its folder. `programs` run in the stead of foreign images."""

    project: Path
    scratch: Path
    services: Mapping[str, composed.Service]
    secrets: Mapping[str, Any]
    programs: Mapping[str, Sequence[str]]
    containers: dict[str, Container] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.image = Image.read(self.project / "deploy" / "Dockerfile")
        self.network = Network(sorted({composed.owner(self.services, name) for name in self.services}))

    def hosts(self) -> str:
        """/etc/hosts of every container.

        A name that several share leads to second addresses of theirs: c-ares, by which gRPC and Envoy
        resolve, takes all lines that have a name or an address in common for one host.
        """
        lines = ["127.0.0.1 localhost", "::1 localhost"]
        for name, address in self.network.addresses.items():
            networks = self.services[name].get("networks", {})
            aliases = networks.get("default", {}).get("aliases", []) if isinstance(networks, dict) else []
            lines += [f"{address} {name}", *(f"{second(address)} {alias}" for alias in aliases)]
        return "\n".join([*lines, ""])

    # --- containers -------------------------------------------------------------------------------

    def start(self, name: str) -> Container:
        """Start one, whatever it depends on."""
        service = self.services[name]
        value = service["image"] == "meshwright"
        argv = [*self.programs.get(service["image"], ()), *service.get("command", ())]
        base = {"PATH": f"{Path(sys.executable).parent}:{self.scratch}/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
        image = {**self.image.environment, **base} if value else base
        container = Container(
            name,
            service,
            self.scratch / f"{name}.log",
            self.scratch / "roots" / name,
            tuple(argv),
            {**image, **composed.environment(service)},
            self.image.folder if value else "/",
        )
        container.root.mkdir(parents=True)
        script = self.scratch / f"{name}.sh"
        script.write_text(self._script(container))
        enter = [*self.network.enter(composed.owner(self.services, name)), "unshare", "-m"]
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
        """What makes a root and becomes the command in it."""
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
            elif path.is_dir() and path.name not in OWN:
                lines.append(f"mkdir {path.name} && mount --rbind {path} {path.name}")
        lines += [
            "mkdir -p proc var/lib var/run run mnt tmp",
            "chmod 1777 tmp var/run",
            "mount --rbind /proc proc",
        ]
        lines += ["cp -a /etc etc", "rm -f etc/hosts", f"cat > etc/hosts <<'END'\n{self.hosts()}END"]
        lines += ["install -d -m 1777 var/lib/meshwright run/tokens", f"mkdir -p .{container.folder}"]
        for path in self._needed():
            lines.append(f"mkdir -p .{path} && mount --rbind {path} .{path}")
        for source, target, sealed in composed.mounts(container.service, container.name):
            lines += self._mounted(self._source(source), target, sealed=sealed)
        assigned = " ".join(shlex.quote(f"{name}={value}") for name, value in container.environment.items())
        command = " ".join(map(shlex.quote, container.argv))
        entered = f'cd {container.folder} && exec "$@"'
        lines.append(f"exec chroot {root} env -i {assigned} sh -c {shlex.quote(entered)} sh {command}")
        return "\n".join([*lines, ""])

    def _needed(self) -> list[Path]:
        """Folders of this host that programs need and that lie in what a container has to itself."""
        expected = {Path(sys.prefix), Path(sys.base_prefix), ROOT, self.scratch / "bin"}
        return sorted(path for path in expected if path.parts[1] in OWN)

    def _source(self, source: str) -> Path:
        kind, _, rest = source.partition(":")
        if kind == "secret":
            return self.project / str(self.secrets[rest]["file"])
        if kind.startswith("."):
            return self.project / kind
        folder = self.scratch / "volumes" / kind / rest
        if not folder.exists():
            folder.mkdir(parents=True)
            folder.chmod(0o1777)
        return folder

    @staticmethod
    def _mounted(source: Path, target: str, *, sealed: bool) -> list[str]:
        assert source.exists(), source
        text = (
            f"mkdir -p .{target}"
            if source.is_dir()
            else f"mkdir -p .{Path(target).parent} && touch .{target}"
        )
        lines = [text, f"mount --bind {shlex.quote(str(source))} .{target}"]
        return [*lines, f"mount -o remount,bind,ro .{target}"] if sealed else lines

    # --- life -------------------------------------------------------------------------------------

    def check(self, name: str) -> Sequence[str]:
        """The health check of a service; nothing where its image has none that is known."""
        service = self.services[name]
        if "healthcheck" in service:
            test: Sequence[str] = service["healthcheck"]["test"]
            return test
        return ("CMD", *self.image.healthcheck) if service["image"] == "meshwright" else ()

    def _may_start(self, name: str) -> bool:
        expected = self.services[name].get("depends_on", {})
        for other, how in expected.items():
            if other not in self.containers:
                return False
            if how["condition"] == "service_healthy" and not self.containers[other].healthy(
                self.check(other)
            ):
                return False
        return True

    def up(self, within: float = 180.0) -> None:
        """Start all in the order of what they depend on; returns when every one is well."""

        def started() -> bool:
            for name in self.services:
                if name not in self.containers and self._may_start(name):
                    self.start(name)
            return len(self.containers) == len(self.services)

        until(started, "everything is started", within, LOOK_EVERY)
        for name, container in self.containers.items():
            check = self.check(name)
            if check:
                until(partial(container.healthy, check), f"{name} is healthy", within, LOOK_EVERY)

    def down(self) -> None:
        """Stop all of them, the youngest first, by their pids."""
        running = [container.process for container in reversed(self.containers.values()) if container.process]
        for process in running:
            process.send_signal(signal.SIGTERM)
        for process in running:
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_WITHIN)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # as an engine ends what its main process left
            process.wait(10)


@contextmanager
def engine(
    project: Path, scratch: Path, programs: Mapping[str, Sequence[str]], leave_out: Sequence[str] = ()
) -> Iterator[Engine]:
    """All of `project`'s docker-compose.yml but `leave_out`, running; stopped and gone at the end."""
    variables = composed.variables(project / ".env")
    file = composed.read(project / "docker-compose.yml", variables)
    services = {name: service for name, service in file["services"].items() if name not in leave_out}
    new_engine = Engine(project, scratch, services, file["secrets"], programs)
    try:
        new_engine.network.plug()
        new_engine.up()
        yield new_engine
    finally:
        new_engine.down()
        new_engine.network.unplug()
