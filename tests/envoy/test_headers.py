"""HeaderPolicy under traffic: headers changed between callers, gateway and application."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service

SERVICE = "{kind: Service, name: back}"
GATEWAY = "{kind: Gateway, name: ingress}"
SENT = {"x-set": "old", "x-add": "some", "x-removed": "here", "x-other": "same"}


def policy(name: str, target: str, spec: str) -> str:
    """A HeaderPolicy for one target."""
    return (
        f"---\n{{apiVersion: meshwright.io/v1, kind: HeaderPolicy, metadata: {{name: {name}}},"
        f" spec: {{targetRefs: [{target}], {spec}}}}}\n"
    )


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    applications = [service("front"), service("side"), service("back")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), applications) as running:
        running.apply(
            "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: public},"
            " spec: {parentRefs: [{name: ingress}], rules: [{backendRefs: [{name: back}]}]}}"
        )
        yield running


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Any]:
    """Apply a HeaderPolicy; it is deleted after the test."""
    names: list[str] = []

    def apply(name: str, target: str, spec: str) -> None:
        mesh.apply(policy(name, target, spec))
        names.append(name)

    yield apply
    for name in names:
        mesh.delete("HeaderPolicy", name)


def call(mesh: Mesh, caller: str = "front-1") -> requests.Response:
    return mesh.get(caller, "http://back/echo", headers=SENT)


def received(response: requests.Response) -> dict[str, str]:
    """The request headers that the application received."""
    headers: dict[str, str] = response.json()["headers"]
    return headers


def test_service_target_changes_requests_and_responses(mesh: Mesh, applied: Any) -> None:
    applied(
        "back",
        SERVICE,
        "request: {set: [{name: X-Set, value: '100% new'}, {name: x-new, value: a}],"
        " add: [{name: x-add, value: more}], remove: [X-Removed]},"
        " response: {set: [{name: x-tone, value: calm}], add: [{name: x-served-by, value: two}],"
        " remove: [content-type]}",
    )
    for response in (call(mesh), mesh.outside("/echo", headers=SENT)):
        headers = received(response)
        assert (headers["x-set"], headers["x-new"]) == ("100% new", "a")
        assert headers["x-add"] == "more", "the application shows the last one of several"
        assert "x-removed" not in headers
        assert headers["x-other"] == "same"
        assert response.headers["x-tone"] == "calm"
        assert response.headers["x-served-by"] == "back-1, two"
        assert "content-type" not in response.headers


def test_gateway_target_changes_only_requests_from_outside(mesh: Mesh, applied: Any) -> None:
    applied("edge", GATEWAY, "request: {set: [{name: x-edge, value: ingress}]}")
    assert received(mesh.outside("/echo"))["x-edge"] == "ingress"
    assert "x-edge" not in received(call(mesh))


def test_from_limits_the_policy_to_its_callers(mesh: Mesh, applied: Any) -> None:
    applied("front-only", SERVICE, "from: [front], request: {set: [{name: x-caller, value: front}]}")
    assert received(call(mesh))["x-caller"] == "front"
    assert "x-caller" not in received(call(mesh, "side-1"))


def test_applying_and_deleting_keeps_the_callers_connection(mesh: Mesh) -> None:
    session = mesh.caller("front-1")

    def connections() -> str:
        name = r"^http\.outbound\.downstream_cx_total$"
        return mesh.run("proxy", "front-1", "stats", "--filter", name).stdout

    assert "x-mark" not in received(session.get("http://back/echo", timeout=20))
    before = connections()
    assert "downstream_cx_total" in before
    mesh.apply(policy("mark", SERVICE, "request: {set: [{name: x-mark, value: a}]}"))
    assert received(session.get("http://back/echo", timeout=20))["x-mark"] == "a"
    mesh.delete("HeaderPolicy", "mark")
    assert "x-mark" not in received(session.get("http://back/echo", timeout=20))
    assert connections() == before
