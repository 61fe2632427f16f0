"""Requests through the ingress and through sidecars: identities, host names, headers and paths."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: front}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules: [{backendRefs: [{name: front}]}]
"""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    with running_mesh(
        tmp_path_factory.mktemp("mesh"), [service("front"), service("back", replicas=2)]
    ) as running:
        running.apply(ROUTE)
        yield running


def test_ingress_presents_its_identity_and_drops_a_forged_one(mesh: Mesh) -> None:
    response = mesh.outside(
        "/echo", headers={"x-forwarded-client-cert": "URI=spiffe://mesh.local/service/forged"}
    )
    assert response.status_code == 200
    assert response.json()["headers"]["x-forwarded-client-cert"].endswith(
        "URI=spiffe://mesh.local/gateway/ingress"
    )
    assert "forged" not in response.text


def test_ingress_drops_proxy_headers_of_external_clients(mesh: Mesh) -> None:
    names = [
        "Forwarded",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Envoy-Attempt-Count",
    ]
    response = mesh.outside("/echo", headers={"X-Forwarded-Proto": "https", **dict.fromkeys(names, "forged")})
    assert response.status_code == 200
    assert response.json()["headers"]["x-forwarded-proto"] == "http"
    assert "forged" not in response.text


def test_caller_presents_its_identity_to_the_callee(mesh: Mesh) -> None:
    response = mesh.get("front-1", "http://back/echo")
    assert response.status_code == 200
    assert response.json()["headers"]["x-forwarded-client-cert"].endswith(
        "URI=spiffe://mesh.local/service/front"
    )


@pytest.mark.parametrize("host", ["back", "back.mesh", "back:80", "back.mesh:80"])
def test_every_host_name_of_a_service_reaches_it(mesh: Mesh, host: str) -> None:
    assert mesh.get("front-1", f"http://{host}/echo").status_code == 200


def test_unknown_host_is_a_prompt_404_each_time(mesh: Mesh) -> None:
    for _ in range(3):
        response = mesh.get("front-1", "http://nobody/echo", timeout=30)
        assert response.status_code == 404
        assert response.elapsed.total_seconds() < 10


def test_plaintext_to_the_inbound_port_is_rejected(mesh: Mesh) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{mesh.ports('back-1')['inbound']}/echo", timeout=30)


@pytest.mark.parametrize("path", ["/a%2fb", "/a%2Fb", "/a%5cb"])
def test_ingress_rejects_escaped_slashes(mesh: Mesh, path: str) -> None:
    assert requests.Session().send(_raw(mesh, path), timeout=30).status_code == 400


@pytest.mark.parametrize("path", ["/x/../echo", "//echo", "/x/%2e%2e/echo", "/./echo"])
def test_ingress_normalises_paths_before_routing(mesh: Mesh, path: str) -> None:
    response = requests.Session().send(_raw(mesh, path), timeout=30)
    assert response.json()["path"] == "/echo"


def _raw(mesh: Mesh, path: str) -> requests.PreparedRequest:
    """A request with this exact path, which requests would normalise."""
    prepared = requests.Request("GET", f"http://127.0.0.1:{mesh.ingress_port}").prepare()
    prepared.url = f"http://127.0.0.1:{mesh.ingress_port}{path}"
    return prepared
