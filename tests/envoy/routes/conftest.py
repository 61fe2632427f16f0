"""One mesh for all tests of routes: a service in two versions, a mirror, a service with two ports, one that
breaks connections, one that speaks TCP, one that speaks TLS itself, and a second gateway that no document
describes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.api.calls import DocumentRef
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.models.policies import ApplyResponse
from tests.envoy.harness import ROOT, Mesh, running_mesh, service
from tests.envoy.routes.certificates import VAULT, write
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


LEDGER_PORT = 15432
"""By which routes refer to the TCP service."""

CALLS_PORT = 9090
"""By which callers reach HTTP/2 of `broken`."""


@pytest.fixture(scope="package")
def extra() -> int:
    """The number of a second port."""
    return free_port()


@pytest.fixture(scope="package")
def inner() -> int:
    """The port of the second gateway."""
    return free_port()


@pytest.fixture(scope="package")
def mesh(tmp_path_factory: pytest.TempPathFactory, extra: int, inner: int) -> Iterator[Mesh]:
    folder = tmp_path_factory.mktemp("mesh")
    versions = [service("back", labels={"version": version}) for version in ("v1", "v2")]
    twin = service("twin") | {
        "command": [sys.executable, "-c", TWO_PORTS],
        "ports": [{"name": "http"}, {"name": "extra", "port": extra}],
    }
    twin["env"] = {"PYTHONPATH": str(ROOT)}
    broken = service("broken") | {
        "command": [sys.executable, "-m", "tests.fakes.broken_app"],
        "ports": [{"name": "http"}, {"name": "calls", "protocol": "grpc", "number": CALLS_PORT}],
    }
    ledger = service("ledger") | {
        "command": [sys.executable, "-m", "tests.fakes.tcp_app"],
        "ports": [{"name": "tcp", "protocol": "tcp", "number": LEDGER_PORT}],
    }
    files = [str(folder / f"vault.{end}") for end in ("crt", "key")]
    write(VAULT.issue_cert("vault.test"), folder / "vault")
    vault = service("vault") | {
        "command": [sys.executable, "-m", "tests.fakes.tls_app", *files],
        "ports": [{"name": "tls", "protocol": "tcp"}],
    }
    for unchecked in (broken, ledger, vault):
        del unchecked["health"]
    front = service("front") | {"upstreams": ["ledger"]}
    with running_mesh(
        folder,
        [front, *versions, service("shadow"), twin, broken, ledger, vault],
        gateways=[{"name": "inner", "port": inner}],
    ) as running:
        for version in ("v1", "v2"):
            running.apply(
                f"{{apiVersion: meshwright.io/v1, kind: Subset, metadata: {{name: {version}}},"
                f" spec: {{service: back, labels: {{version: {version}}}}}}}"
            )
        yield running


@pytest.fixture
def applied(applied_documents: Any) -> Callable[[str], tuple[str, ...]]:
    """Apply documents as YAML and wait; they are deleted after the test. Returns the warnings."""

    def apply(text: str) -> tuple[str, ...]:
        documents = YAML(typ="safe").load_all(text)
        warnings: tuple[str, ...] = applied_documents([document for document in documents if document])
        return warnings

    return apply


@pytest.fixture
def applied_documents(mesh: Mesh) -> Iterator[Any]:
    """The same for documents that are parsed.

    By the client of the admin API: a command would take longer to start than the rest of the test.
    """
    refs: dict[DocumentRef, None] = {}

    async def change(edit: Callable[[Client], Awaitable[ApplyResponse]]) -> tuple[str, ...]:
        async with Client.locate(mesh.state) as client:
            response = await edit(client)
            rollout = await client.wait(response.revision, 60)
        assert rollout.state == "programmed", rollout
        return response.warnings

    def apply(documents: list[dict[str, Any]]) -> tuple[str, ...]:
        refs.update((DocumentRef(item["kind"], item["metadata"]["name"]), None) for item in documents)
        return asyncio.run(change(lambda client: client.apply(documents)))

    yield apply
    asyncio.run(change(lambda client: client.delete(refs)))
