"""A newer Debian with its Python in a folder, and this project's wheel installed there as users install it.

Needs root and mmdebstrap.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from tests.envoy.harness import ROOT

SOURCES = Path("/etc/apt/sources.list.d/debian.sources")

HOST_FILES = ("etc/pip.conf", "etc/resolv.conf", "etc/hosts", "etc/ssl/certs/ca-certificates.crt")
"""What pip needs of this host to reach its index."""

REQUIREMENTS = ("requirements/build.txt", "requirements/test.txt")
"""With hashes, for every supported Python. The second has everything that the wheel needs too."""


@dataclass(frozen=True)
class Chroot:
    """A root folder with a virtual environment in /venv. This checkout is mounted where it is on the host."""

    folder: Path
    python: str

    def command(self, *argv: str, cwd: Path = ROOT) -> list[str]:
        """A command line that runs `argv` in the chroot, on the host's network and with its /tmp."""
        root = shlex.quote(str(self.folder))
        mounts = [f"mkdir -p {root}{ROOT}", f"mount --bind {ROOT} {root}{ROOT}"]
        mounts += [f"mount --rbind /{name} {root}/{name}" for name in ("proc", "dev", "sys", "tmp")]
        inside = f'cd {shlex.quote(str(cwd))} && export PATH="/venv/bin:$PATH" && exec "$@"'
        enter = f'exec chroot {root} sh -c {shlex.quote(inside)} sh "$@"'
        return ["unshare", "--mount", "sh", "-ec", " && ".join([*mounts, enter]), "sh", *argv]

    def run(self, *argv: str, within: float, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return subprocess.run(
            self.command(*argv, cwd=cwd), capture_output=True, text=True, timeout=within, check=False
        )

    def install_wheel(self, folder: Path) -> None:
        """Build the wheel of this checkout in `folder`, and install it in place of an earlier one."""
        build = ("pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), ".")
        self._checked(*build, within=300)
        wheels = [str(path) for path in folder.glob("*.whl")]
        self._checked("pip", "install", "-q", "--no-deps", "--force-reinstall", *wheels, within=300)

    def _checked(self, *argv: str, within: float) -> None:
        done = self.run(*argv, within=within)
        assert done.returncode == 0, f"{argv}: {done.stdout[-1000:]}{done.stderr[-3000:]}"

    def create(self, suite: str) -> None:
        """Unpack Debian and install the requirements."""
        mirror = re.search(r"^URIs: (\S+)", SOURCES.read_text(), re.MULTILINE)
        assert mirror
        packages = f"--include={self.python}-venv,ca-certificates"
        # A mirror may lag behind; signatures are checked all the same.
        lagging = '--aptopt=Acquire::Check-Valid-Until "false"'
        argv = ["/usr/bin/mmdebstrap", "--quiet", "--variant=minbase", lagging, packages]
        argv += [suite, str(self.folder), mirror[1]]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=900, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        for name in HOST_FILES:
            if (Path("/") / name).exists():
                shutil.copy(Path("/") / name, self.folder / name)
        self._checked(self.python, "-m", "venv", "/venv", within=300)
        for name in REQUIREMENTS:
            argv = ["pip", "install", "--quiet", "--require-hashes", "--no-deps", "-r", name]
            self._checked(*argv, within=1200)


def debian_chroot(suite: str, python: str) -> Chroot:
    """A suite with `python`, such as python3.13. It stays for the next run, until the requirements change."""
    text = b"".join((ROOT / name).read_bytes() for name in REQUIREMENTS)
    folder = Path("/var/tmp") / f"mesh-debian-{suite}-{sha256(text).hexdigest()[:12]}"  # noqa: S108  of root only
    chroot = Chroot(folder, python)
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        chroot.create(suite)
        (folder / "complete").touch()
    return chroot
