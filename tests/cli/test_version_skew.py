"""Two releases in one mesh: an earlier commit as a wheel with an older version beside this tree."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from meshwright.control_plane.api.software_version import VERSION
from tests.cli.test_up import ROUTE, application_file, assert_all_stopped, recorded, stopped_afterwards
from tests.envoy.harness import ROOT, service, settings, until
from tests.envoy.steady_load import load
from tests.fakes.ports import free_port

EARLIER = "1eef0e8d"
"""The first commit whose Envoys and apps another release takes over."""

EARLIER_VERSION = "0.0.9"

pytestmark = pytest.mark.long


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with the package of the earlier commit."""
    source, folder = tmp_path / "source", tmp_path / "earlier"
    archive = subprocess.run(
        [shutil.which("git") or "git", "archive", EARLIER], cwd=ROOT, capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(source, filter="data")
    project = source / "pyproject.toml"
    project.write_text(re.sub(r'(?m)^version = ".*"', f'version = "{EARLIER_VERSION}"', project.read_text()))
    pip = (sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder), str(source))
    subprocess.run(pip, check=True)
    return folder


def test_an_upgrade_and_a_downgrade_by_one_minor_version_lose_no_request(
    tmp_path: Path, earlier: Path
) -> None:
    state, port = tmp_path / "state", free_port()
    env = settings(state)
    (tmp_path / "route.yaml").write_text(ROUTE)
    file = application_file(tmp_path, [service("front")], port, policies=["route.yaml"])

    def mesh(*arguments: str, path: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "meshwright.cli", *arguments],
            env={**env, **({"PYTHONPATH": path} if path else {})},
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def versions() -> dict[str, set[str]]:
        """The versions of control plane and agents, once both are known."""
        items = json.loads(mesh("version", "-o", "json"))["items"]
        parts = ("control plane", "agent")
        return {part: {item["version"] for item in items if item["component"] == part} for part in parts}

    with stopped_afterwards(env):
        mesh("up", "-f", str(file), "--detach", path=str(earlier))
        old, new = ({"control plane": {v}, "agent": {v}} for v in (EARLIER_VERSION, VERSION))
        until(lambda: versions() == old, "the earlier version runs")
        with load(tmp_path, f"http://127.0.0.1:{port}/echo") as requests:
            before = recorded(state)
            assert "2 of 4 parts replaced" in mesh("upgrade")
            until(lambda: versions() == new, "this version runs")
            assert "healthy" in mesh("status", path=str(earlier))
            assert "2 of 4 parts replaced" in mesh("upgrade", path=str(earlier))
            until(lambda: versions() == old, "the earlier version runs again")
            after = recorded(state)
            serving = ("front-1", "front-1.proxy", "ingress.proxy")
            assert [after[name] for name in serving] == [before[name] for name in serving]
        assert requests.requests > 500 and requests.failed == 0, requests.report
        pids = recorded(state)
        mesh("down")
        assert_all_stopped(state, list(pids.values()))
