"""What users have: Debian 13's Python 3.13. The dashboard in a real terminal, and the tests without Envoy."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.debian_chroot import Chroot, debian_13
from tests.envoy.harness import Mesh, running_mesh, service
from tests.tui.terminal import Terminal

pytestmark = [pytest.mark.long, pytest.mark.timeout(3600)]

WITHOUT = ("envoy", "valkey", "processes", "browser", "network", "long")
"""Marks of tests that start programs which Debian 13's folder does not have."""


@pytest.fixture(scope="module")
def chroot() -> Chroot:
    return debian_13()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("orders")]) as running:
        yield running


async def test_dashboard_opens_in_a_terminal_and_quits(chroot: Chroot, mesh: Mesh, tmp_path: Path) -> None:
    environment = {
        "MESH_API": json.loads((mesh.state / "mesh.json").read_text())["admin"],
        "MESH_TOKEN_FILE": str(mesh.state / "admin.token"),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
    }
    variables = [f"{name}={value}" for name, value in environment.items()]
    code = tmp_path / "code"
    line = ["sh", "-c", f'"$@"; echo $? > {code}', "sh", *chroot.command("env", *variables, "mesh", "dash")]
    terminal = Terminal(tmp_path / "tmux", line, dict(os.environ))
    try:
        await terminal.shows("orders", 120)
        terminal.press("q")
        await terminal.exits()
    finally:
        terminal.close()
    assert code.read_text() == "0\n"


def test_tests_without_programs_pass(chroot: Chroot) -> None:
    version = chroot.run("python", "--version", within=60).stdout
    assert version.startswith("Python 3.13.")
    expression = " and ".join(f"not {mark}" for mark in WITHOUT)
    argv = ("python", "-m", "pytest", "-q", "-m", expression, "-n", "2", "-p", "no:cacheprovider")
    done = chroot.run(*argv, within=3000)
    assert done.returncode == 0, done.stdout[-6000:]
