"""A WebSocket handshake that an app does not accept stays a refusal on the way through two sidecars."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import api
from tests.envoy.raw_http import exchange, planned
from tests.envoy.test_pass_through import raw_service

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: raw}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: raw}]}]
"""
NOT_ACCEPTED = "the WebSocket handshake was not accepted"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(tmp_path_factory.mktemp("mesh"), [service("front"), raw_service("raw")]) as running:
        running.apply(ROUTE)
        yield running


@pytest.mark.parametrize("where", ["sidecar", "ingress"])
@pytest.mark.parametrize(
    ("response", "status", "body"),
    [
        ("200 OK\ncontent-length: 2\n\nok", 502, NOT_ACCEPTED),
        ("204 No Content\n\n", 502, NOT_ACCEPTED),
        ("302 Found\nlocation: /a\n\n", 302, NOT_ACCEPTED),
        ("401 Unauthorized\ncontent-length: 2\n\nno", 401, "no"),
        ("503 Unavailable\ncontent-length: 2\n\nno", 503, "no"),
    ],
)
def test_handshake_that_the_app_does_not_accept_is_refused_to_the_caller(
    mesh: Mesh, where: str, response: str, status: int, body: str
) -> None:
    port, target = mesh.ports("front-1")["outbound"], "http://raw/ws"
    if where == "ingress":
        port, target = mesh.ingress_port, "/ws"
    offer = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
    head = f"GET {target} HTTP/1.1\r\nHost: raw\r\n{planned(f'HTTP/1.1 {response}')}{offer}\r\n"
    received = exchange(port, head)
    assert received.status == status
    assert body in received.body
    assert received.headers.get("location", []) == (["/a"] if status == 302 else [])
    if status == 502:
        until(
            lambda: NOT_ACCEPTED in api(mesh, f"/api/v1/why/{received.request_id}").text,
            "an explanation of the refusal",
        )
