"""What `mesh demo` says once it is ready, and how it writes the command that the user has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from meshwright.cli.python_module import mesh_command
from meshwright.cli.startup_summary import demo_hints
from meshwright.cli.up import application_to_run, demo_application_file, launch_plan

DEMO = demo_application_file()


def hints(state: Path, only: str = "") -> str:
    """The hints of a demo with these services."""
    applied = application_to_run(DEMO, only, [], ["ingress=9999"])
    return "\n".join(demo_hints(launch_plan(applied, state, 60.0), ".venv/bin/mesh"))


def test_the_demo_says_what_to_do_next(tmp_path: Path) -> None:
    text = hints(tmp_path)
    assert "open http://127.0.0.1:9999/ in a browser" in text
    for command in ("demo --traffic 5", "dash", "demo --story"):
        assert f".venv/bin/mesh {command} " in text


def test_a_part_of_the_demo_that_cannot_take_its_traffic_says_nothing(tmp_path: Path) -> None:
    assert hints(tmp_path, "catalog") == ""
    assert "browser" not in hints(tmp_path, "catalog,inventory,orders,users")


def test_the_command_is_a_path_unless_the_shell_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "venv" / "bin" / "mesh"
    script.parent.mkdir(parents=True)
    script.touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(script.with_name("python")))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert mesh_command() == "venv/bin/mesh"
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert mesh_command() == str(script)
    (tmp_path / "mesh").symlink_to(script)
    assert mesh_command() == "mesh", "pipx puts such a link on PATH"
