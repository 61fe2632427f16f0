"""Python files in the folder where a user runs `mesh` do not replace modules of the product."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_up import application_file, mesh_command, stopped_afterwards
from tests.envoy.harness import service, settings

MODULES = ("cli", "tui", "grpc", "yaml", "redis", "http_server")
PACKAGES = ("sidecar", "services", "control_plane", "dashboards", "deploy", "aiohttp")
REFUSES = "raise SystemExit('a file of the user was imported: ' + __name__)\n"


@pytest.fixture
def user_folder(tmp_path: Path) -> Path:
    """A project whose modules have the names of ours and of our dependencies."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in MODULES:
        (folder / f"{name}.py").write_text(REFUSES)
    for name in PACKAGES:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(REFUSES)
    return folder


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of `mesh`, with no more Python settings than a user has."""
    result = {name: value for name, value in settings(tmp_path / "state").items() if name != "PYTHONPATH"}
    with stopped_afterwards(result):
        yield result


def installed_mesh(
    *arguments: str, environment: dict[str, str], folder: Path
) -> subprocess.CompletedProcess[str]:
    """Run the `mesh` script in a folder."""
    script = Path(sys.executable).with_name("mesh")
    return subprocess.run(
        [script, *arguments],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )


FRONT = {**service("front"), "command": [sys.executable, "-P", "-m", "tests.fakes.app"]}
"""The fake app, which these files must not break either."""


def test_mesh_up_starts_among_files_with_our_names(user_folder: Path, environment: dict[str, str]) -> None:
    file = application_file(user_folder, [FRONT])
    started = installed_mesh("up", "-f", str(file), "--detach", environment=environment, folder=user_folder)
    assert started.returncode == 0, started.stdout + started.stderr
    assert "was imported" not in started.stdout + started.stderr
    status = installed_mesh("status", environment=environment, folder=user_folder)
    assert "● synced" in status.stdout
    assert mesh_command("down", env=environment).returncode == 0


def test_an_app_inherits_none_of_our_settings(user_folder: Path, environment: dict[str, str]) -> None:
    """Only our own children start with -P: an app must find the modules beside it."""
    (user_folder / "beside.py").write_text("VALUE = 'found'\n")
    (user_folder / "app.py").write_text(
        "import beside, os\n"
        "print(beside.VALUE, [os.environ.get(name) for name in ('PYTHONSAFEPATH', 'GRPC_VERBOSITY')])\n"
    )
    file = application_file(user_folder, [FRONT])
    started = installed_mesh("up", "-f", str(file), "-d", environment=environment, folder=user_folder)
    assert started.returncode == 0, started.stderr
    probe = installed_mesh(
        *("run", "--service", "probe", "--", sys.executable, "app.py"),
        environment=environment,
        folder=user_folder,
    )
    assert probe.stdout == "found [None, None]\n", probe.stderr
