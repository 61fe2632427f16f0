"""Debian 13 with its Python 3.13 in a folder, and this project installed there. Needs root and mmdebstrap."""

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


@dataclass(frozen=True)
class Chroot:
    """A root folder with a virtual environment in /venv. This checkout is mounted where it is on the host."""

    folder: Path

    def command(self, *argv: str) -> list[str]:
        """A command line that runs `argv` in the chroot, in the checkout, on the host's network."""
        root = shlex.quote(str(self.folder))
        mounts = [f"mkdir -p {root}{ROOT}", f"mount --bind {ROOT} {root}{ROOT}"]
        mounts += [f"mount --rbind /{name} {root}/{name}" for name in ("proc", "dev", "sys", "tmp")]
        enter = (
            f'exec chroot {root} sh -c \'cd {ROOT} && export PATH="/venv/bin:$PATH" && exec "$@"\' sh "$@"'
        )
        return ["unshare", "--mount", "sh", "-ec", " && ".join([*mounts, enter]), "sh", *argv]

    def run(self, *argv: str, within: float) -> subprocess.CompletedProcess[str]:
        """Run a command there."""
        return subprocess.run(
            self.command(*argv), capture_output=True, text=True, timeout=within, check=False
        )


def debian_13() -> Chroot:
    """The chroot with what pyproject.toml needs. It stays for the next run, until the requirements change."""
    text = (ROOT / "pyproject.toml").read_bytes() + (ROOT / "constraints.txt").read_bytes()
    folder = Path("/var/tmp") / f"mesh-debian-13-{sha256(text).hexdigest()[:12]}"  # noqa: S108  a cache, of root only
    chroot = Chroot(folder)
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _create(chroot)
        (folder / "complete").touch()
    return chroot


def _create(chroot: Chroot) -> None:
    mirror = re.search(r"^URIs: (\S+)", SOURCES.read_text(), re.MULTILINE)
    assert mirror
    packages = "--include=python3.13-venv,ca-certificates"
    argv = [
        "/usr/bin/mmdebstrap",
        "--quiet",
        "--variant=minbase",
        packages,
        "trixie",
        str(chroot.folder),
        mirror[1],
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    for name in HOST_FILES:
        if (Path("/") / name).exists():
            shutil.copy(Path("/") / name, chroot.folder / name)
    for argv in (
        ["python3.13", "-m", "venv", "/venv"],
        ["/venv/bin/pip", "install", "--quiet", "-c", "constraints.txt", "-e", ".[test]"],
    ):
        done = chroot.run(*argv, within=900)
        assert done.returncode == 0, done.stderr[-3000:]
