"""The command line starts fast: a command imports only what it needs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meshwright.cli.main import COMMANDS

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
        [sys.executable, "-c", listing], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True
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
    ],
)
def test_a_command_imports_only_what_it_needs(arguments: list[str], unneeded: set[str]) -> None:
    assert not imported(*arguments) & unneeded


def test_version_is_printed() -> None:
    command = [sys.executable, "-c", "from meshwright.cli.main import main; main()", "--version"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert ran.stdout.startswith("meshwright ")
