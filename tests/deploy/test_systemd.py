"""The systemd units: they verify, name programs that are there, and shut out what they do not need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.envoy.harness import ROOT

UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))

EXPOSURE = 20
"""systemd's own score of what a unit leaves open, in tenths: 20 is still `OK`, a plain unit has 96."""


def installed(unit: Path, folder: Path) -> Path:
    """A unit as it would stand on a machine whose programs are these tests'; a template's instance."""
    name = unit.name.replace("@.", "@orders-1.")
    text = unit.read_text().replace("/opt/meshwright/bin/", f"{Path(sys.executable).parent}/")
    assert text != unit.read_text()
    path = folder / name
    path.write_text(text)
    return path


def systemd(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/systemd-analyze", *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_is_right_and_shut_tight(unit: Path, tmp_path: Path) -> None:
    path = installed(unit, tmp_path)
    completed = systemd("verify", "--man=no", str(path))
    assert (completed.returncode, completed.stderr) == (0, "")
    scored = systemd("security", "--offline=true", f"--threshold={EXPOSURE}", str(path))
    assert scored.returncode == 0, scored.stdout


def test_there_are_units() -> None:
    assert [unit.name for unit in UNITS] == [
        "meshwright-agent@.service",
        "meshwright-control-plane.service",
    ]


def test_the_examples_options_are_understood() -> None:
    """`mesh agent` reads what the example file says up to the point where it needs a token."""
    line = next(
        splitline
        for splitline in (ROOT / "deploy/systemd/agent.env").read_text().splitlines()
        if splitline.startswith("AGENT_OPTIONS=")
    )
    options = line.removeprefix("AGENT_OPTIONS=").replace("10.0.0.1", "127.0.0.1").split()
    argv = [
        sys.executable,
        "-m",
        "meshwright.cli",
        "agent",
        "--instance",
        "orders-1",
        "--token-file",
        "/nowhere/token",
    ]
    done = subprocess.run(
        [*argv, *options], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
    assert done.returncode == 2
    assert done.stderr.startswith("/nowhere/token:1:1: the token cannot be read: No such file")
