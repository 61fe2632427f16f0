"""The OpenAPI document is valid, complete, and what the server does: random requests never break it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode, checks

from meshwright.control_plane.admin import openapi, server
from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from tests.fakes.admin_server import FakeMesh, fake_mesh

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]
REFUSED = {"expected-statuses": ["400", "401", "403", "404", "409", "413", "422"]}
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": REFUSED}})

LINE = 8000
"""Characters of a URL that aiohttp reads, less some for the rest of the line."""

BOUND = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeMesh]:
    """A server in a thread of its own: schemathesis blocks."""
    with RunningMesh(tmp_path_factory.mktemp("openapi")) as running:
        yield running


class RunningMesh:
    """A fake mesh on a loop in a thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))

    def __enter__(self) -> FakeMesh:
        self._thread.start()
        assert self._ready.wait(60)
        return self._mesh

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self._loop.close()

    async def _serve(self) -> None:
        async with fake_mesh(self._folder) as self._mesh:
            self._ready.set()
            await self._stop.wait()


def test_the_document_is_valid_openapi_3_1() -> None:
    document = openapi.document(server.ROUTES, "1.2.3")
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    described = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert described.keys() == {(route.method, route.full_path) for route in server.ROUTES}
    assert len({operation["operationId"] for operation in described.values()}) == len(server.ROUTES)
    for (_, path), operation in described.items():
        assert {"200", "400", "401", "403"} <= operation["responses"].keys()
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert all(f"{{{name}}}" in path for name in in_path)
        assert len(in_path) == path.count("{")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fit", "unfit"])
@pytest.mark.parametrize("route", server.ROUTES, ids=lambda route: route.operation)
def test_random_requests_are_answered_as_described(
    mesh: FakeMesh, route: Route, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(openapi.document(server.ROUTES, "1"), config=CONFIG)
    operation = schema[route.full_path][route.method]
    headers = {"Authorization": f"Bearer {mesh.token}"}
    wanted: Any = checks.CHECKS.get_by_names(CHECKS)

    @BOUND
    @given(case=operation.as_strategy(mode))
    def explore(case: schemathesis.Case[Any]) -> None:
        sent = requests.Request(**case.as_transport_kwargs(base_url=mesh.url)).prepare()
        assume(len(sent.url or "") < LINE)  # the HTTP parser cuts off longer ones before any route
        case.call_and_validate(base_url=mesh.url, headers=headers, checks=wanted)

    try:
        explore()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE
        assert route.params is NoParams
        assert route.body is NoBody
