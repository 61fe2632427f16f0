"""The Pythons that users have: the wheel, a mesh, the dashboard in a terminal, the tests without Envoy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.debian_chroot import Chroot, debian_chroot
from tests.envoy.harness import PORTS
from tests.fakes.ports import free_port
from tests.tui.terminal import dashboard_exit_code

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

WITHOUT = ("envoy", "valkey", "processes", "browser", "network", "long")
"""Marks of tests that start programs which Debian's folder does not have."""


@pytest.fixture(
    scope="module", params=[("trixie", "python3.13"), ("sid", "python3.14")], ids=lambda it: it[1]
)
def chroot(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Chroot:
    """Debian 13 with the Python of the image, and the newest supported Python; the wheel is installed."""
    chroot = debian_chroot(*request.param)
    chroot.install_wheel(tmp_path_factory.mktemp("wheel"))
    return chroot


@dataclass(frozen=True)
class WheelUser:
    """A user of the installed wheel, in a folder of their own: nothing comes from the checkout."""

    chroot: Chroot
    folder: Path
    variables: tuple[str, ...]

    def command(self, *argv: str) -> list[str]:
        """A command line for `mesh ARGV`."""
        return self.chroot.command("env", *self.variables, "mesh", *argv, cwd=self.folder)

    def mesh(self, *argv: str) -> str:
        """The output of a `mesh` command, which must succeed."""
        argv = ("env", *self.variables, "mesh", *argv)
        done = self.chroot.run(*argv, within=300, cwd=self.folder)
        assert done.returncode == 0, f"{argv}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def user(chroot: Chroot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelUser]:
    """A user whose mesh runs in the background: a part of the demo shop."""
    ports = [f"{name}={free_port()}" for name in PORTS]
    user = WheelUser(chroot, tmp_path_factory.mktemp("user"), (*ports, "TERM=xterm-256color", "LANG=C.UTF-8"))
    up = ("up", "--detach", "--only", "orders,inventory", "--port", f"ingress={free_port()}")
    try:
        user.mesh(*up, "--timeout", "180s")
        yield user
    finally:
        user.mesh("down")


def test_wheel_brings_up_a_mesh_whose_sidecars_are_in_sync(user: WheelUser) -> None:
    status = json.loads(user.mesh("status", "-o", "json"))
    assert {"orders", "inventory"} <= {
        service["name"] for service in status["services"] if service["healthy"]
    }
    assert {proxy["state"] for proxy in status["proxies"]} == {"synced"}


async def test_dashboard_opens_in_a_terminal_and_quits(user: WheelUser, tmp_path: Path) -> None:
    assert await dashboard_exit_code(tmp_path, [*user.command("dash")], dict(os.environ)) == 0


def test_tests_without_programs_pass(chroot: Chroot) -> None:
    version = chroot.run("python", "--version", within=60).stdout
    assert version.lower().replace(" ", "").startswith(f"{chroot.python}."), version
    expression = " and ".join(f"not {mark}" for mark in WITHOUT)
    argv = ("python", "-m", "pytest", "-q", "-m", expression, "-n", "2", "-p", "no:cacheprovider")
    done = chroot.run(*argv, within=3000)
    assert done.returncode == 0, done.stdout[-6000:]
