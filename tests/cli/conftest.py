"""A fake mesh, and the real `mesh` command against it as a child process."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.admin_server import FakeMesh, fake_mesh
from tests.fakes.mesh_command import run_mesh

ROOT = Path(__file__).parents[2]
MESH = "from meshwright.cli.main import main; main()"

RunMesh = Callable[..., Awaitable["RunResult"]]


@dataclass(frozen=True)
class RunResult:
    """Exit code and output of a run of `mesh`."""

    code: int
    out: str
    err: str


@pytest.fixture
async def mesh(tmp_path: Path) -> AsyncIterator[FakeMesh]:
    async with fake_mesh(tmp_path / "state") as fake:
        yield fake


@pytest.fixture
def run(tmp_path: Path) -> RunMesh:
    """Run `mesh` in an empty folder, with `text` as stdin and tmp_path/state as its state."""

    async def start(*arguments: str, text: str | bytes = "", env: dict[str, str] | None = None) -> RunResult:
        environment = {key: value for key, value in os.environ.items() if not key.startswith("MESH_")}
        environment |= {"MESH_STATE": str(tmp_path / "state"), "PYTHONPATH": str(ROOT), **(env or {})}
        stdin = text.encode() if isinstance(text, str) else text
        done = await asyncio.to_thread(run_mesh, arguments, environment, folder=tmp_path, stdin=stdin)
        return RunResult(done.returncode, done.stdout, done.stderr)

    return start
