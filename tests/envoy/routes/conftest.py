"""One mesh for all tests of routes: a service in two versions, a mirror, and a service with two ports."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest

from tests.envoy.harness import ROOT, Mesh, running_mesh, service
from tests.fakes.ports import free_port

TWO_PORTS = """
import asyncio, os
from tests.fakes.app import serve
ports = {"web": os.environ["PORT_HTTP"], "extra": os.environ["PORT_EXTRA"]}
both = [serve(name, int(port), 7, 5.0) for name, port in ports.items()]
async def main():
    tasks = [asyncio.create_task(one) for one in both]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
asyncio.run(main())
"""


@pytest.fixture(scope="package")
def extra() -> int:
    """The number of a second port."""
    return free_port()


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory, extra: int) -> Iterator[Mesh]:
    versions = [service("back", labels={"version": version}) for version in ("v1", "v2")]
    twin = service("twin") | {
        "command": [sys.executable, "-c", TWO_PORTS],
        "ports": [{"name": "http"}, {"name": "extra", "port": extra}],
    }
    twin["env"] = {"PYTHONPATH": str(ROOT)}
    with running_mesh(
        tmp_path_factory.mktemp("mesh"), [service("front"), *versions, service("shadow"), twin]
    ) as running:
        for version in ("v1", "v2"):
            running.apply(
                f"{{apiVersion: meshwright.io/v1, kind: Subset, metadata: {{name: {version}}},"
                f" spec: {{service: back, labels: {{version: {version}}}}}}}"
            )
        yield running


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Any]:
    """Apply routes; they are deleted after the test."""
    names: list[str] = []

    def apply(text: str) -> None:
        mesh.apply(text)
        names.extend(line[17:-1] for line in text.splitlines() if line.startswith("metadata: {name: "))

    yield apply
    for name in dict.fromkeys(names):
        mesh.delete("HTTPRoute", name)
