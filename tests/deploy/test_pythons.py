"""The Pythons that users have: the wheel, a mesh, the dashboard in a terminal, the tests without Envoy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.debian_chroot import debian_chroot
from tests.deploy.python_environment import (
    HostEnvironment,
    PythonEnvironment,
    host_interpreter,
    kept_folder,
)
from tests.envoy.harness import PORTS
from tests.fakes.ports import free_port
from tests.tui.terminal import dashboard_exit_code

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

WITHOUT = ("envoy", "valkey", "processes", "browser", "network", "long")
"""Marks of tests that start programs which Debian's folder does not have."""


DEBIAN = {"python3.13": "trixie", "python3.14": "sid"}
"""Suites by Python: that of the image, and the newest. No suite has 3.12: there the host's own is taken."""


def prepared(python: str) -> PythonEnvironment:
    """An environment with what the wheel and the tests need."""
    if suite := DEBIAN.get(python):
        return debian_chroot(suite, python)
    interpreter = host_interpreter(python)
    if not interpreter:
        pytest.skip(f"no {python} in PATH or in ~/.pyenv: Debian has no package of it, so install one")
    environment = HostEnvironment(kept_folder(python), interpreter)
    environment.ready()
    return environment


@pytest.fixture(scope="module", params=["python3.12", *DEBIAN])
def environment(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> PythonEnvironment:
    """A Python, with the wheel of this checkout installed."""
    environment = prepared(request.param)
    version = environment.run("python", "--version", within=60).stdout
    assert version.startswith(f"P{request.param[1:6]} {request.param[6:]}."), version
    environment.install_wheel(tmp_path_factory.mktemp("wheel"))
    return environment


@dataclass(frozen=True)
class WheelUser:
    """A user of the installed wheel, in a folder of their own: nothing comes from the checkout."""

    environment: PythonEnvironment
    folder: Path
    variables: tuple[str, ...]

    def command(self, *argv: str) -> list[str]:
        """A command line for `mesh ARGV`."""
        return self.environment.command("env", *self.variables, "mesh", *argv, cwd=self.folder)

    def mesh(self, *argv: str) -> str:
        """The output of a `mesh` command, which must succeed."""
        argv = ("env", *self.variables, "mesh", *argv)
        done = self.environment.run(*argv, within=300, cwd=self.folder)
        assert done.returncode == 0, f"{argv}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout


@pytest.fixture(scope="module")
def user(environment: PythonEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WheelUser]:
    """A user whose mesh runs in the background: a part of the demo shop."""
    ports = [f"{name}={free_port()}" for name in PORTS]
    user = WheelUser(
        environment, tmp_path_factory.mktemp("user"), (*ports, "TERM=xterm-256color", "LANG=C.UTF-8")
    )
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


def test_tests_without_programs_pass(environment: PythonEnvironment) -> None:
    expression = " and ".join(f"not {mark}" for mark in WITHOUT)
    argv = ("python", "-m", "pytest", "-q", "-m", expression, "-n", "2", "-p", "no:cacheprovider")
    done = environment.run(*argv, within=3000)
    assert done.returncode == 0, done.stdout[-6000:]
