"""Rollbacks by the API: what came since may refuse what an old revision has."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api import calls
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import ApiError
from tests.fakes.admin_server import FakeMesh

GATEWAY = {
    "apiVersion": "gateway.networking.k8s.io/v1",
    "kind": "Gateway",
    "metadata": {"name": "orders"},
    "spec": {
        "gatewayClassName": "meshwright",
        "listeners": [{"name": "http", "port": 8080, "protocol": "HTTP"}],
    },
}


async def test_a_rollback_brings_back_no_gateway_whose_name_is_a_service_by_now(
    mesh: FakeMesh, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before_the_service:
        before_the_service.setattr(mesh, "service_names", tuple)
        await client.apply([calls.SourcedDocument(GATEWAY, "edge.yaml:3")])
        with_gateway = (await client.history())[0].revision
        await client.rollback(0)
        await client.rollback(with_gateway)
        await client.rollback(0)
    revisions = len(mesh.store.revisions)
    with pytest.raises(ApiError) as refused:
        await client.rollback(with_gateway)
    (problem,) = refused.value.problems
    assert (refused.value.status, problem.path, problem.line) == (422, "edge.yaml", 3)
    assert problem.message.startswith("metadata.name: orders is a service")
    assert len(mesh.store.revisions) == revisions
