"""ExternalAuthorization under traffic: authorizers in and beside the mesh decide who is let in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import find_event, refused
from tests.envoy.mesh_policies import applying, policy_document
from tests.fakes.authorizer import REFUSAL, grpc_authorizer, http_authorizer
from tests.fakes.ports import free_port

GATEWAY = "{kind: Gateway, name: ingress}"
SERVICE = "{kind: Service, name: back}"
PATIENT = "20s"
"""A timeout that a busy machine does not reach."""


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    applications = [service("front"), service("back"), service("authz")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), applications) as running:
        running.apply(
            "{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: public},"
            " spec: {parentRefs: [{name: ingress}], rules: [{backendRefs: [{name: back}]}]}}"
        )
        yield running


def policy(name: str, target: str, **spec: Any) -> str:
    return policy_document("ExternalAuthorization", name, target, **{"timeout": PATIENT, **spec})


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Callable[..., None]]:
    """Apply policies; they are deleted after the test."""
    with applying(mesh, "ExternalAuthorization", policy) as apply:
        yield apply


def test_service_of_the_mesh_decides_and_no_stream_is_cut(mesh: Mesh, applied: Any) -> None:
    """The authorizer answers with the status that the path names: /403 is check as /status/403."""
    url = "http://back/stream?seconds=1000&every=0.1"
    with mesh.caller("front-1").get(url, stream=True, timeout=60) as streaming:
        lines = streaming.iter_lines()
        first = next(lines)
        more = {"exceptions": [{"path": "/free"}], "headersToBackend": ["x-user"]}
        applied("access", SERVICE, http={"url": "http://authz/status"}, **more)
        forged = {"x-user": "root", "X_User": "root", "x-other": "1"}
        got = mesh.get("front-1", "http://back/200", headers=forged).json()
        assert got["path"] == "/200"
        assert {"x-user", "x_user", "x-other"} & set(got["headers"]) == {"x-other"}
        denied = mesh.get("front-1", "http://back/403")
        assert (denied.status_code, denied.text) == (403, "authz-1"), "the authorizer's own words"
        assert denied.headers["x-request-id"]
        assert mesh.outside("/401").status_code == 401, "the sidecar protects its service from gateways, too"
        assert mesh.get("front-1", "http://back/free?a=1").json()["path"] == "/free"
        explained = ("why", denied.headers["x-request-id"])
        until(lambda: mesh.run(*explained, check=False).returncode == 0, "the request is in the log")
        why = mesh.run(*explained).stdout
        assert "ExternalAuthorization access, revision" in why, why
        assert "the authorizer refused the request" in why, why

        def listed() -> bool:
            """Called again, because a busy machine may lose a batch of records."""
            mesh.get("front-1", "http://back/403")
            mesh.outside("/401")
            callers = {("front", "denied"), ("ingress", "unauthenticated")}
            return refused(mesh, "ExternalAuthorization/access") == callers

        until(listed, "the refusals are listed")
        event = until(lambda: find_event(mesh, "refusal", "front → back", "access"), "an event")
        assert "ExternalAuthorization/access refused" in event["message"]
        assert (first, next(lines)) == (b"0", b"1")


def test_http_authorizer_gets_and_sets_what_the_policy_says(mesh: Mesh, applied: Any) -> None:
    with http_authorizer() as (port, received):
        applied(
            "login",
            GATEWAY,
            http={"url": f"http://127.0.0.1:{port}/auth", "appendPath": False},
            headersToAuthorizer=["x-decide"],
            headersToBackend=["x-user"],
            headersToClient=["set-cookie"],
            exceptions=[{"path": "/public", "type": "PathPrefix"}],
            body={"maxBytes": 10},
        )
        forged = {"x-user": "root", "x-secret": "s"}
        headers = {**forged, "x-decide": "allow-as alice", "authorization": "Bearer t"}
        response = mesh.outside("/a?b=c", "POST", headers=headers, data="0123456789")
        assert response.status_code == 200, response.text
        got = response.json()["headers"]
        assert (got["x-user"], got.get("x-other")) == ("alice", None)
        assert got["x-secret"] == "s"
        assert response.json()["body_len"] == 10
        assert response.headers["set-cookie"] == "s=1"
        method, path, check = received[-1]
        assert (method, path, check["x-forwarded-uri"]) == ("POST", "/auth", "/a?b=c")
        assert (check["authorization"], check["body"]) == ("Bearer t", "0123456789")
        assert "x-secret" not in check
        refused = mesh.outside("/a", headers=forged)
        assert (refused.status_code, refused.json()) == (401, REFUSAL)
        assert refused.headers["www-authenticate"] == "Fake"
        assert refused.headers["content-type"] == "application/json"
        allowed = mesh.outside("/a", headers={**forged, "x-decide": "allow"}).json()["headers"]
        assert "x-user" not in allowed, "forged headers are removed without a new value, too"
        public = mesh.outside("/public/a", headers=forged)
        assert public.status_code == 200
        assert "x-user" not in public.json()["headers"]
        assert mesh.outside("/public/../a", headers=forged).status_code == 401
        number = len(received)
        assert mesh.outside("/a", "POST", headers=headers, data="x" * 11).status_code == 413
        assert len(received) == number
        inside = mesh.get("front-1", "http://back/a", headers=forged).json()["headers"]
        assert inside["x-user"] == "root", "the gateway's policy is in force at the gateway"


def test_grpc_authorizer_and_a_second_policy_must_both_allow(mesh: Mesh, applied: Any) -> None:
    with grpc_authorizer() as (port, received):
        applied("opa", GATEWAY, grpc={"url": f"http://127.0.0.1:{port}"}, headersToBackend=["x-user"])
        headers = {"x-decide": "allow-as bob", "x-user": "root"}
        response = mesh.outside("/200", headers=headers)
        got = response.json()["headers"]
        assert (got["x-user"], got.get("x-other")) == ("bob", None)
        check = received[-1].attributes
        assert (check.request.http.method, check.request.http.path) == ("GET", "/200")
        assert "x-user" not in check.request.http.headers, "forged headers do not reach the authorizer"
        refused = mesh.outside("/200")
        assert (refused.status_code, refused.json()) == (401, REFUSAL)
        applied("second", {"kind": "HTTPRoute", "name": "public"}, http={"url": "http://authz/status"})
        assert mesh.outside("/200", headers=headers).json()["headers"]["x-user"] == "bob"
        assert mesh.outside("/403", headers=headers).status_code == 403
        assert mesh.outside("/200").status_code == 401


@pytest.mark.parametrize("authorizer", ["http", "grpc"])
def test_authorizer_away_denies_or_allows_as_the_policy_says(
    mesh: Mesh, applied: Any, authorizer: str
) -> None:
    where = {authorizer: {"url": f"http://127.0.0.1:{free_port()}"}}
    applied("away", GATEWAY, **where)

    def listed() -> bool:
        answer = mesh.outside("/a")
        assert answer.status_code == 503
        assert 'refused by ["ExternalAuthorization/away"]' in answer.text
        return ("outside", "rejected") in refused(mesh, "ExternalAuthorization/away")

    until(listed, "the refusals are listed")
    applied("away", GATEWAY, **where, onFailure="allow")
    assert mesh.outside("/a").status_code == 200


def test_authorizer_of_the_mesh_that_does_not_exist_denies(mesh: Mesh, applied: Any) -> None:
    applied("nobody", SERVICE, http={"url": "http://nobody"})
    assert mesh.get("front-1", "http://back/a").status_code == 503


def test_late_authorizer_is_a_failure(mesh: Mesh, applied: Any) -> None:
    applied("late", SERVICE, http={"url": "http://authz/delay?ms=60000", "appendPath": False}, timeout="50ms")
    response = mesh.get("front-1", "http://back/a")
    assert response.status_code == 503
    assert "ext_authz_error" in response.text
