"""One demo for all tests of this folder: it starts 15 services. pytest-xdist keeps the folder together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.demo.running import READY, Demo, demo
from tests.envoy.harness import settings
from tests.fakes.ports import free_port


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    environment, port = settings(folder / "state", MESH_PUSH="staged"), free_port()
    with demo(folder, environment, "--port", f"ingress={port}", "--timeout", "150") as child:
        assert child.stdout is not None
        lines = []
        for line in child.stdout:
            lines.append(line)
            if line.startswith(READY):
                break
        assert any(line.startswith(READY) for line in lines), "".join(lines)
        yield Demo(folder, environment, child, port)
