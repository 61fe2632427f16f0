"""The command line starts fast: a command imports only what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meshwright.cli.main import COMMANDS, command
from tests.fakes.mesh_command import run_mesh

ROOT = Path(__file__).parents[2]
HEAVY = {"aiohttp", "grpc", "redis", "google.protobuf", "asyncio", "rich", "opentelemetry", "cryptography"}


def imported(*arguments: str) -> set[str]:
    """The modules that a run of `mesh` imports."""
    listing = (
        "import sys, meshwright.cli.main\n"
        f"meshwright.cli.main.run({list(arguments)!r})\n"
        "sys.stdout.write('\\n--modules--\\n' + '\\n'.join(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True
    )
    return set(ran.stdout.split("\n--modules--\n")[1].split("\n"))


def test_help_imports_no_command() -> None:
    modules = imported("--help")
    assert not modules & {f"meshwright.cli.{entry.module}" for entry in COMMANDS.values()}
    assert not modules & {"pydantic", "ruamel.yaml", *HEAVY}


@pytest.mark.parametrize(
    ("arguments", "unneeded"),
    [
        (["status", "--state", "/nonexistent"], {"ruamel.yaml", "meshwright.control_plane.policies", *HEAVY}),
        (["get", "--state", "/nonexistent"], {"ruamel.yaml", "meshwright.control_plane.policies", *HEAVY}),
        (["validate", "/nonexistent"], {"http.client", *HEAVY}),
        (
            ["validate", "control_plane/policies/retry/example.yaml"],
            {"meshwright.control_plane.policies.cors.spec", "meshwright.cli.application", *HEAVY},
        ),
        (["up", "--help"], {"meshwright.cli.application", "meshwright.sidecar.config", "psutil", *HEAVY}),
        (["schema"], {"meshwright.control_plane.policies.cors.spec", "meshwright.cli.application", *HEAVY}),
        (
            ["schema", "retry"],
            {"meshwright.control_plane.policies.cors.spec", "meshwright.cli.application", *HEAVY},
        ),
    ],
)
def test_a_command_imports_only_what_it_needs(arguments: list[str], unneeded: set[str]) -> None:
    assert not imported(*arguments) & unneeded


def test_version_is_printed() -> None:
    command = [sys.executable, "-c", "from meshwright.cli.main import main; main()", "--version"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert ran.stdout.startswith("meshwright ")


def test_a_forked_command_gets_its_own_arguments_environment_folder_and_files(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("kind: Nothing\n")
    environment = {"PATH": os.environ["PATH"], "MESH_STATE": str(tmp_path / "elsewhere")}
    invalid = run_mesh(("validate", "-f", "r.yaml"), environment, folder=tmp_path)
    assert (invalid.returncode, invalid.stdout) == (2, "")
    assert invalid.stderr.startswith("r.yaml:1:7: ")
    given = run_mesh(("validate", "-f", "-"), environment, folder=tmp_path, stdin="kind: Höhe\n".encode())
    assert given.stderr.startswith("<stdin>:1:7: kind: 'Höhe'")
    absent = run_mesh(("status",), environment, folder=tmp_path)
    assert (absent.returncode, str(tmp_path / "elsewhere") in absent.stderr) == (3, True)


def test_a_forked_command_that_takes_too_long_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(subprocess.TimeoutExpired):
        run_mesh(("validate", "-f", "pipe"), {"PATH": os.environ["PATH"]}, folder=tmp_path, timeout=2.0)
    with pytest.raises(OSError, match="No such device"):  # nobody reads it any more
        os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)


SHARED_LETTERS = {"-f": {"--file", "--follow"}, "-n": {"--limit", "--lines"}}
"""Letters with two meanings, as in kubectl and tail: a file of what is applied, following a log; how many."""


def test_a_letter_means_the_same_in_every_command() -> None:
    meanings: dict[str, set[str]] = {}
    pending: list[Any] = [command()]
    while pending:
        target = pending.pop()
        pending += [target.get_command(None, name) for name in getattr(target, "commands", ())]
        for parameter in target.params:
            long = {name for name in parameter.opts if name.startswith("--")}
            for letter in set(parameter.opts) - long if parameter.param_type_name == "option" else ():
                meanings.setdefault(letter, set()).update(long)
    assert {letter: names for letter, names in meanings.items() if len(names) > 1} == SHARED_LETTERS
    assert "-o" in meanings
