"""A virtual environment of some Python, with this project's wheel installed there as users install it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.envoy.harness import ROOT

REQUIREMENTS = ("requirements/build.txt", "requirements/test.txt")
"""With hashes, for every supported Python. The second has everything that the wheel needs too."""


@dataclass(frozen=True)
class PythonEnvironment(ABC):
    """A folder with a virtual environment of `python`, such as python3.13."""

    folder: Path
    python: str

    @abstractmethod
    def command(self, *argv: str, cwd: Path = ROOT) -> list[str]:
        """A command line that runs `argv` with this Python first in PATH."""

    @abstractmethod
    def create(self) -> None:
        """Make the virtual environment, and install the requirements."""

    def run(self, *argv: str, within: float, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run a command there. It may write bytecode, or each process would compile what it imports."""
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        argv = tuple(self.command(*argv, cwd=cwd))
        return subprocess.run(
            argv, capture_output=True, text=True, timeout=within, check=False, env=environment
        )

    def install_requirements(self) -> None:
        """Install what is pinned, with hashes."""
        for name in REQUIREMENTS:
            argv = ("pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", name)
            self.checked(*argv, within=1200)

    def install_wheel(self, folder: Path) -> None:
        """Build the wheel of this checkout in `folder`, and install it in place of an earlier one."""
        build = ("pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), ".")
        self.checked(*build, within=300)
        wheels = [str(path) for path in folder.glob("*.whl")]
        self.checked("pip", "install", "-q", "--no-deps", "--force-reinstall", *wheels, within=300)

    def checked(self, *argv: str, within: float) -> None:
        """Run a command there that must succeed."""
        done = self.run(*argv, within=within)
        assert done.returncode == 0, f"{argv}: {done.stdout[-1000:]}{done.stderr[-3000:]}"

    def ready(self) -> None:
        """Create it unless an earlier run has."""
        if not (self.folder / "complete").exists():
            shutil.rmtree(self.folder, ignore_errors=True)
            self.create()
            (self.folder / "complete").touch()


class HostEnvironment(PythonEnvironment):
    """A virtual environment of an interpreter of this host."""

    def command(self, *argv: str, cwd: Path = ROOT) -> list[str]:
        """A command line that runs `argv` with this Python first in PATH."""
        path = f"PATH={self.folder}/venv/bin:{os.environ['PATH']}"
        return ["env", f"--chdir={cwd}", path, *argv]

    def create(self) -> None:
        """Make the virtual environment, and install the requirements."""
        argv = [self.python, "-m", "venv", str(self.folder / "venv")]
        subprocess.run(argv, check=True, timeout=300, capture_output=True)
        self.install_requirements()


def host_interpreter(name: str) -> str:
    """The path of an interpreter such as python3.12: in PATH, or of pyenv. Empty if none runs."""
    version = name.removeprefix("python")
    of_pyenv = sorted((Path.home() / ".pyenv/versions").glob(f"{version}*/bin/{name}"))
    candidates = [shutil.which(name) or "", *map(str, of_pyenv)]
    for candidate in filter(None, candidates):
        done = subprocess.run(
            [candidate, "--version"], capture_output=True, text=True, timeout=60, check=False
        )
        if re.match(rf"Python {re.escape(version)}\.", done.stdout):
            return candidate
    return ""


def kept_folder(name: str) -> Path:
    """A folder that stays for the next run, until the requirements change."""
    text = b"".join((ROOT / requirements).read_bytes() for requirements in REQUIREMENTS)
    return Path("/var/tmp") / f"mesh-{name}-{sha256(text).hexdigest()[:12]}"  # noqa: S108  of root only
