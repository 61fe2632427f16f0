"""`mesh test` as a user runs it, with real Envoys: what cases expect, and what is left behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from tests.envoy.harness import ROOT, settings, until
from tests.fakes.mesh_command import run_mesh

FOLDER = Path(__file__).parent
WRONG = {"the retry is missing", "the gateway has no such route"}


def test_cases_pass_and_fail_as_they_say(tmp_path: Path) -> None:
    """The user's own mesh, whose address and store are in the environment, is not asked anything."""
    environment = settings(
        tmp_path / "state", MESH_API="http://127.0.0.1:9", MESH_REDIS_URL="redis://nowhere"
    )
    environment["TMPDIR"] = str(tmp_path)
    report = tmp_path / "junit.xml"
    argv = ("test", "tests.yaml", "--timeout", "2m", "-o", "json", "--junit", str(report))
    done = run_mesh(argv, environment, FOLDER, timeout=280)
    assert done.returncode == 1, done.stdout + done.stderr
    items = {item["name"]: item for item in json.loads(done.stdout)["items"]}
    assert {name: item["failures"] for name, item in items.items() if not item["passed"]} == {
        "the retry is missing": [
            "tests.yaml:54:24: status: expected 200, got 500",
            "tests.yaml:54:39: attempts: expected 2, got 1",
        ],
        "the gateway has no such route": [
            "tests.yaml:58:28: answeredBy: expected reviews, got the mesh itself, status 404: "
            "mesh: no route of this gateway matches host and path (route_not_found)"
        ],
    }
    suite = ElementTree.parse(report).find("testsuite")  # noqa: S314  written by the command
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures")) == (str(len(items)), "2")
    assert {case.get("name") for case in suite if case.find("failure") is not None} == WRONG
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]


@pytest.mark.long
def test_exchange_keeps_what_its_policies_promise(tmp_path: Path) -> None:
    argv = ("test", "services/tests.yaml", "--timeout", "2m")
    done = run_mesh(argv, settings(tmp_path / "state"), ROOT, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.long
def test_ctrl_c_in_a_case_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tests.yaml").write_text(
        """
apiVersion: meshwright.io/v1
kind: PolicyTest
metadata: {name: endless}
spec:
  cases:
    - {name: first, from: {service: a}, request: {host: b}, expect: {status: 200}}
    - name: endless
      from: {service: a}
      request: {host: b}
      respond: [{name: b, delay: 1m}]
      times: 100
      expect: {status: 200}
"""
    )
    folder = tmp_path / "tmp"
    folder.mkdir()
    environment = {**settings(tmp_path / "state"), "TMPDIR": str(folder)}
    command = [
        sys.executable,
        "-m",
        "meshwright.cli",
        "test",
        str(tmp_path / "tests.yaml"),
        "--timeout",
        "2m",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert "first" in process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) >= 5
        process.send_signal(signal.SIGINT)
        assert process.wait(120) == 130
    until(lambda: not any(child.is_running() for child in children), "processes ended")
    assert list(folder.iterdir()) == []
