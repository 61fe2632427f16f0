"""The examples in docs/python-client.md run as they are."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.admin_server import FakeMesh
from tests.fakes.admin_thread import running_fake_mesh

PAGE = Path(__file__).parents[3] / "docs" / "python-client.md"
PROGRAMS = [
    code for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S) if "asyncio.run" in code
]


@pytest.fixture
def mesh(tmp_path: Path) -> Iterator[FakeMesh]:
    with running_fake_mesh(tmp_path) as running:
        yield running


def run(program: str, mesh: FakeMesh) -> str:
    """The output of a program of the page, in an environment that leads to the fake mesh."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("MESH_")}
    environ["MESH_STATE"] = str(mesh.state)
    result = subprocess.run(
        [sys.executable, "-P", "-c", program], env=environ, capture_output=True, check=False, text=True
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_the_first_example_applies_a_policy_and_waits_for_it(mesh: FakeMesh) -> None:
    output = run(PROGRAMS[0], mesh)
    assert "+++ b/Retry/inventory" in output
    assert "revision 1: programmed\n1 proxies, store ok\n" in output
    messages = [revision.info.message for revision in mesh.store.revisions]
    assert messages == ["", "inventory times out under load"]


def test_the_second_example_prints_every_problem(mesh: FakeMesh) -> None:
    status, *problems = run(PROGRAMS[1], mesh).splitlines()
    assert status == "422 invalid"
    assert problems[0].startswith("document 1:1:1: ")


def test_the_page_has_no_other_programs() -> None:
    assert len(PROGRAMS) == 2
