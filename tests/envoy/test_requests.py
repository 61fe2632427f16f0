"""One request's whole way: ingress, the caller's sidecar, the callee's sidecar, all under mutual TLS."""

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
    ) as actual_mesh:
        actual_mesh.apply(ROUTE)
        yield actual_mesh


def test_the_ingress_presents_its_identity_to_the_service(mesh: Mesh) -> None:
    response = mesh.outside(
        "/echo", headers={"x-forwarded-client-cert": "URI=spiffe://mesh.local/service/forged"}
    )
    assert response.status_code == 200
    assert response.json()["headers"]["x-forwarded-client-cert"].endswith(
        "URI=spiffe://mesh.local/gateway/ingress"
    )
    assert "forged" not in response.text


def test_what_a_stranger_says_of_proxies_before_the_ingress_is_not_passed_on(mesh: Mesh) -> None:
    texts = [
        "Forwarded",
        "X-Forwarded-Host",
        "X-Forwarded-Port",
        "X-Forwarded-Prefix",
        "X-Envoy-Attempt-Count",
    ]
    response = mesh.outside("/echo", headers={"X-Forwarded-Proto": "https", **dict.fromkeys(texts, "forged")})
    assert response.status_code == 200
    assert response.json()["headers"]["x-forwarded-proto"] == "http"
    assert "forged" not in response.text


def test_a_service_presents_its_identity_to_the_service_it_calls(mesh: Mesh) -> None:
    response = mesh.get("front-1", "http://back/echo")
    assert response.status_code == 200
    assert response.json()["headers"]["x-forwarded-client-cert"].endswith(
        "URI=spiffe://mesh.local/service/front"
    )


@pytest.mark.parametrize("host", ["back", "back.mesh", "back:80", "back.mesh:80"])
def test_every_name_of_a_service_reaches_it(mesh: Mesh, host: str) -> None:
    assert mesh.get("front-1", f"http://{host}/echo").status_code == 200


def test_an_unknown_host_is_not_found_at_once_and_again(mesh: Mesh) -> None:
    for _ in range(3):
        response = mesh.get("front-1", "http://nobody/echo", timeout=30)
        assert response.status_code == 404
        assert response.elapsed.total_seconds() < 10


def test_plaintext_straight_to_the_inbound_port_is_refused(mesh: Mesh) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{mesh.ports('back-1')['inbound']}/echo", timeout=30)


@pytest.mark.parametrize("path", ["/a%2fb", "/a%2Fb", "/a%5cb"])
def test_escaped_slashes_are_refused_at_the_ingress(mesh: Mesh, path: str) -> None:
    assert requests.Session().send(_raw(mesh, path), timeout=30).status_code == 400


@pytest.mark.parametrize("path", ["/x/../echo", "//echo", "/x/%2e%2e/echo", "/./echo"])
def test_paths_are_normalised_before_they_are_routed(mesh: Mesh, path: str) -> None:
    response = requests.Session().send(_raw(mesh, path), timeout=30)
    assert response.json()["path"] == "/echo"


def _raw(mesh: Mesh, path: str) -> requests.PreparedRequest:
    """A request whose path is sent as it is written here."""
    prepared = requests.Request("GET", f"http://127.0.0.1:{mesh.ingress_port}").prepare()
    prepared.url = f"http://127.0.0.1:{mesh.ingress_port}{path}"
    return prepared
