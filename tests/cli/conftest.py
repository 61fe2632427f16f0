"""A fake mesh, and the real `mesh` command against it as a child process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.admin_server import FakeMesh, fake_mesh

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
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", MESH, *arguments),
            cwd=tmp_path,
            env=environment,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            stdin = text.encode() if isinstance(text, str) else text
            out, err = await asyncio.wait_for(child.communicate(stdin), 90)
        finally:
            if child.returncode is None:
                child.kill()
                await child.wait()
        return RunResult(child.returncode or 0, out.decode(), err.decode())

    return start
