"""The OpenAPI document is valid, complete and accurate: random requests get the responses it describes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode, checks

from meshwright.control_plane.admin import openapi
from meshwright.control_plane.admin.route import NoBody, NoParams, Route
from tests.fakes.admin_server import FakeMesh, fake_routes
from tests.fakes.admin_thread import running_fake_mesh

ROUTES = fake_routes()

CHECKS = [
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
]
REJECTED = {"expected-statuses": ["400", "401", "403", "404", "409", "413", "422"]}
CONFIG = schemathesis.Config.from_dict({"checks": {"negative_data_rejection": REJECTED}})

MAX_URL = 8000
"""Characters of a URL that aiohttp accepts, minus some for the rest of the line."""

BOUND = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeMesh]:
    """A server in its own thread: schemathesis blocks."""
    with running_fake_mesh(tmp_path_factory.mktemp("openapi")) as running:
        yield running


def test_the_document_is_valid_openapi_3_1() -> None:
    document = openapi.document(ROUTES, "1.2.3")
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")
    operations = {
        (method.upper(), path): operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    assert operations.keys() == {(route.method, route.full_path) for route in ROUTES}
    assert len({operation["operationId"] for operation in operations.values()}) == len(ROUTES)
    for (_, path), operation in operations.items():
        assert {"200", "400", "401", "403"} <= operation["responses"].keys()
        in_path = {p["name"] for p in operation["parameters"] if p["in"] == "path"}
        assert all(f"{{{name}}}" in path for name in in_path)
        assert len(in_path) == path.count("{")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["valid", "invalid"])
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.operation_id)
def test_random_requests_get_the_described_responses(
    mesh: FakeMesh, route: Route, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_dict(openapi.document(ROUTES, "1"), config=CONFIG)
    operation = schema[route.full_path][route.method]
    headers = {"Authorization": f"Bearer {mesh.token}"}
    selected: Any = checks.CHECKS.get_by_names(CHECKS)

    @BOUND
    @given(case=operation.as_strategy(mode))
    def explore(case: schemathesis.Case[Any]) -> None:
        sent = requests.Request(**case.as_transport_kwargs(base_url=mesh.url)).prepare()
        assume(len(sent.url or "") < MAX_URL)  # aiohttp refuses longer ones before routing
        case.call_and_validate(base_url=mesh.url, headers=headers, checks=selected)

    try:
        explore()
    except Unsatisfiable:
        assert mode is GenerationMode.NEGATIVE
        assert route.params is NoParams
        assert route.body is NoBody
