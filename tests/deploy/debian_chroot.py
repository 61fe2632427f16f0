"""A newer Debian with its Python in a folder. Needs root and mmdebstrap."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.deploy.python_environment import PythonEnvironment, kept_folder
from tests.envoy.harness import ROOT

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")

HOST_FILES = ("etc/pip.conf", "etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt")
"""What pip needs of this host to reach its index."""


@dataclass(frozen=True)
class Chroot(PythonEnvironment):
    """A root folder with a virtual environment in /venv. This checkout is mounted where it is on the host."""

    suite: str

    def command(self, *argv: str, cwd: Path = ROOT) -> list[str]:
        """A command line that runs `argv` in the chroot, on the host's network and with its /tmp."""
        root = shlex.quote(str(self.folder))
        mounts = [f"mkdir -p {root}{ROOT}", f"mount --bind {ROOT} {root}{ROOT}"]
        mounts += [f"mount --rbind /{name} {root}/{name}" for name in ("proc", "dev", "sys", "tmp")]
        inside = f'cd {shlex.quote(str(cwd))} && export PATH="/venv/bin:$PATH" && exec "$@"'
        enter = f'exec chroot {root} sh -c {shlex.quote(inside)} sh "$@"'
        return ["unshare", "--mount", "sh", "-ec", " && ".join([*mounts, enter]), "sh", *argv]

    def create(self) -> None:
        """Unpack Debian and install the requirements."""
        mirror = re.search(r"^URIs: (\S+)", SOURCES.read_text(), re.MULTILINE)
        assert mirror
        packages = f"--include={self.python}-venv,ca-certificates"
        # A mirror may lag behind; signatures are checked all the same.
        lagging = '--aptopt=Acquire::Check-Valid-Until "false"'
        argv = ["/usr/bin/mmdebstrap", "--quiet", "--variant=minbase", lagging, packages]
        argv += [self.suite, str(self.folder), mirror[1]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        for name in HOST_FILES:
            if (Path("/") / name).exists():
                shutil.copy(Path("/") / name, self.folder / name)
        self.checked(self.python, "-m", "venv", "/venv", within=300)
        self.install_requirements()


def debian_chroot(suite: str, python: str) -> Chroot:
    """A suite with `python`, such as python3.13."""
    chroot = Chroot(kept_folder(f"debian-{suite}"), python, suite)
    chroot.ready()
    return chroot
