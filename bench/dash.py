"""The cost of the dashboard: time to the first screen, CPU and memory with many services.

A child process runs `mesh dash` in a 160x48 terminal on an admin API whose figures all change twice a second.
CPU time and memory are those of the child, so other load on the machine matters little.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import json
import os
import pty
import struct
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

from meshwright.control_plane.api.models.topology import ServiceList, Topology
from tests.fakes.admin_api import TOKEN, FakeAdminApi
from tests.fakes.mesh_fixture import MeshFixture
from tests.fakes.scenarios import crowded, many

ROOT = Path(__file__).resolve().parents[1]
SIZE = (48, 160)
SETTLE, MEASURE = 4.0, 12.0
SCREENS = {"1": "topology", "2": "services", "5": "sidecars"}
LIMITS = {"first_screen_s": 1.0, "cpu_percent": 15.0, "memory_mb": 120.0}
"""Limits with 100 services."""


class Terminal:
    """A pseudo-terminal that runs a dashboard."""

    def __init__(self, environment: dict[str, str]) -> None:
        pid, self._fd = pty.fork()
        if pid == 0:
            os.execve(sys.executable, [sys.executable, "-m", "meshwright.cli", "dash"], environment)  # noqa: S606
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        os.set_blocking(self._fd, False)
        self.process = psutil.Process(pid)
        self.output = b""

    def read(self) -> None:
        """Read what it has drawn."""
        with contextlib.suppress(BlockingIOError, OSError):
            while True:
                self.output += os.read(self._fd, 65536)

    def press(self, key: str) -> None:
        """Press a key."""
        os.write(self._fd, key.encode())

    def close(self) -> None:
        """Stop the dashboard."""
        self.process.terminate()
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.process.pid, 0)
        os.close(self._fd)


def with_new_figures(mesh: MeshFixture, tick: int) -> MeshFixture:
    """The same mesh with different figures everywhere."""
    factor = 1 + 0.05 * (tick % 7)
    services = tuple(
        row.model_copy(
            update={"rps": row.rps * factor, "p50_ms": row.p50_ms * factor, "p99_ms": row.p99_ms * factor}
        )
        for row in mesh.services.services
    )
    edges = tuple(
        edge.model_copy(update={"rps": edge.rps * factor, "p99_ms": edge.p99_ms * factor})
        for edge in mesh.topology.edges
    )
    return replace(
        mesh,
        services=ServiceList(services=services),
        topology=Topology(nodes=mesh.topology.nodes, edges=edges),
    )


async def change_figures(api: FakeAdminApi) -> None:
    """Change all figures twice a second."""
    fixtures = [with_new_figures(api.mesh, tick) for tick in range(7)]
    for tick in range(10**9):
        api.mesh = fixtures[tick % 7]
        await asyncio.sleep(0.5)


async def wait_for(terminal: Terminal, text: bytes, within: float = 60.0) -> float:
    """Seconds until a text is drawn."""
    start = time.monotonic()
    while text not in terminal.output:
        if time.monotonic() - start > within:
            raise TimeoutError(text.decode())
        await asyncio.sleep(0.005)
        terminal.read()
    return time.monotonic() - start


async def measure(terminal: Terminal) -> dict[str, float]:
    """CPU in percent of a core and resident memory in MB, once it has settled."""
    await run_for(terminal, SETTLE)
    before, start = cpu_seconds(terminal), time.monotonic()
    await run_for(terminal, MEASURE)
    used = cpu_seconds(terminal) - before
    memory = terminal.process.memory_info().rss / 1e6
    return {"cpu_percent": round(100 * used / (time.monotonic() - start), 1), "memory_mb": round(memory, 1)}


async def run_for(terminal: Terminal, seconds: float) -> None:
    """Let it draw for some seconds; drops the output."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        terminal.read()
        terminal.output = b""
        await asyncio.sleep(0.05)


def cpu_seconds(terminal: Terminal) -> float:
    """CPU seconds that the dashboard has used."""
    times = terminal.process.cpu_times()
    return float(times.user + times.system)


@contextlib.contextmanager
def environment(api: FakeAdminApi) -> Iterator[dict[str, str]]:
    """Environment variables that point a dashboard to the admin API."""
    with tempfile.TemporaryDirectory() as folder:
        token = Path(folder) / "token"
        token.write_text(TOKEN)
        yield {
            **os.environ,
            "MESH_API": api.endpoint.url,
            "MESH_TOKEN_FILE": str(token),
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm-256color",
            "COLORTERM": "truecolor",
        }


async def measure_mesh(mesh: MeshFixture) -> dict[str, Any]:
    """All figures for a mesh."""
    api = FakeAdminApi(mesh)
    await api.start()
    ticks = asyncio.create_task(change_figures(api))
    figures: dict[str, Any] = {}
    try:
        with environment(api) as variables:
            terminal = Terminal(variables)
            try:
                figures["first_screen_s"] = round(await wait_for(terminal, b"synced"), 2)
                figures["first_screen_cpu_s"] = round(cpu_seconds(terminal), 2)
                for key, name in SCREENS.items():
                    terminal.press(key)
                    figures[name] = await measure(terminal)
            finally:
                terminal.close()
    finally:
        ticks.cancel()
        await api.stop()
    return figures


def main() -> int:
    """Measure and print; by default for 100 and 1,000 services."""
    parser = argparse.ArgumentParser(prog="python -m bench.dash", description=__doc__)
    parser.add_argument("--services", default="100,1000", help="numbers of services, comma-separated")
    parser.add_argument("--crowded", action="store_true", help="only 60 services with 200 edges")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    all_figures = {}
    meshes = {f"{item} services": many(int(item)) for item in options.services.split(",")}
    if options.crowded:
        meshes = {"60 services, 200 edges": crowded()}
    for name, mesh in meshes.items():
        figures = all_figures[name] = asyncio.run(measure_mesh(mesh))
        cost = figures["first_screen_cpu_s"]
        print(f"{name}: first screen after {figures['first_screen_s']} s ({cost} s of CPU)")
        for screen in SCREENS.values():
            cpu, memory = figures[screen]["cpu_percent"], figures[screen]["memory_mb"]
            print(f"  {screen:10} {cpu:5} % of a core, {memory} MB")
    if options.json:
        options.json.write_text(json.dumps(all_figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
