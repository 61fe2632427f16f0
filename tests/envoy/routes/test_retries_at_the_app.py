"""Retries of what breaks between an app and its own sidecar, in the mesh and at the ingress."""

from __future__ import annotations

import os
import signal
import socket
import threading
import uuid
from typing import Any

import pytest
import requests

from meshwright.control_plane.policies.retry.app_failure import HEADER
from tests.envoy.harness import Mesh, until
from tests.envoy.routes.conftest import CALLS_PORT
from tests.envoy.routes.documents import route
from tests.envoy.wrk import stats

PARENTS = "{kind: Service, name: broken}, {name: ingress}"
RULE = "{retry: {attempts: 3}, backendRefs: [{name: broken}]}"


def retry(on: str) -> str:
    return f"""
apiVersion: meshwright.io/v1
kind: Retry
metadata: {{name: broken}}
spec: {{targetRefs: [{{kind: Service, name: broken}}], on: [{on}], attempts: 3}}
"""


def call(mesh: Mesh, path: str, method: str = "GET") -> requests.Response:
    return mesh.get("front-1", f"http://broken{path}", method)


def key() -> str:
    return uuid.uuid4().hex


@pytest.mark.parametrize("kind", ["reset", "close", "garbage"])
@pytest.mark.parametrize(
    "policy",
    [route("broken", PARENTS, RULE), retry("reset"), retry("5xx"), retry("gateway-error"), retry("502, 503")],
)
def test_broken_connection_is_retried(mesh: Mesh, applied: Any, kind: str, policy: str) -> None:
    applied(policy)
    response = call(mesh, f"/{kind}/{key()}/2")
    assert (response.status_code, response.text) == (200, "3")
    assert HEADER not in response.headers
    if "HTTPRoute" in policy:
        response = mesh.outside(f"/{kind}/{key()}/2")
        assert (response.status_code, response.text) == (200, "3")
        assert HEADER not in response.headers


@pytest.mark.parametrize("policy", [retry("connect-failure"), retry("refused-stream"), retry("502, 504")])
def test_broken_connection_that_the_policy_does_not_name_is_not_retried(
    mesh: Mesh, applied: Any, policy: str
) -> None:
    applied(policy)
    name = key()
    response = call(mesh, f"/reset/{name}/2")
    assert response.status_code == 503
    assert HEADER not in response.headers
    assert call(mesh, f"/reset/{name}/1").text == "2"


def test_request_that_may_have_been_handled_is_not_sent_twice(mesh: Mesh, applied: Any) -> None:
    applied(retry("reset, connect-failure"))
    name = key()
    assert call(mesh, f"/reset/{name}/1", "POST").status_code == 503
    assert call(mesh, f"/reset/{name}/1", "POST").text == "2"


@pytest.mark.parametrize(
    ("on", "request_line", "tries"),
    [
        ("refused-stream", "GET /refuse", 3),
        ("refused-stream", "POST /refuse", 3),  # a refused stream was not handled (RFC 9113, 8.7)
        ("reset", "GET /refuse", 3),
        ("reset", "GET /fail", 3),
        ("reset", "POST /fail", 1),
        ("refused-stream", "GET /fail", 1),
        ("connect-failure", "GET /refuse", 1),
    ],
)
def test_stream_that_the_app_refuses_or_resets(
    mesh: Mesh, applied: Any, on: str, request_line: str, tries: int
) -> None:
    applied(retry(on))
    method, path = request_line.split()
    name = key()
    url = f"http://broken:{CALLS_PORT}{path}/{name}/2"
    response = mesh.get("front-1", url, method)
    assert HEADER not in response.headers
    if tries == 3:
        assert (response.status_code, response.text) == (200, "3")
    else:
        assert response.status_code == 503
        assert mesh.get("front-1", f"http://broken:{CALLS_PORT}{path}/{name}/1").text == "2"


@pytest.mark.parametrize(
    ("on", "method", "status"),
    [("retriable-4xx", "GET", 200), ("retriable-4xx", "POST", 409), ("gateway-error", "GET", 409)],
)
def test_conflict_that_the_app_reports(mesh: Mesh, applied: Any, on: str, method: str, status: int) -> None:
    """`retriable-4xx` is 409 alone, as Envoy defines it."""
    applied(retry(on))
    assert call(mesh, f"/conflict/{key()}/2", method).status_code == status


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_refused_connection_is_retried_until_the_app_listens(mesh: Mesh, applied: Any, method: str) -> None:
    applied(retry("connect-failure").replace("attempts: 3", "attempts: 10, backoff: {base: 500ms, max: 10s}"))
    assert call(mesh, f"/reset/{key()}/0").text == "1"
    here = {"envoy_cluster_name": "broken"}
    before = stats(mesh, "front-1", "cluster_upstream_rq_retry", **here)
    results: list[requests.Response] = []
    os.kill(mesh.pid("broken-1"), signal.SIGUSR1)
    caller = threading.Thread(target=lambda: results.append(call(mesh, f"/reset/{key()}/0", method)))
    try:
        until(lambda: is_closed(mesh.ports("broken-1")["app.http"]), "the app does not listen")
        caller.start()
        until(lambda: stats(mesh, "front-1", "cluster_upstream_rq_retry", **here) > before, "a retry")
    finally:
        os.kill(mesh.pid("broken-1"), signal.SIGUSR2)
        caller.join(60)
    assert [response.text for response in results] == ["1"]


def is_closed(port: int) -> bool:
    """Whether nothing listens at a port on loopback."""
    try:
        socket.create_connection(("127.0.0.1", port), 10).close()
    except ConnectionRefusedError:
        return True
    return False


def test_app_cannot_forge_the_header_of_a_failure(mesh: Mesh, applied: Any) -> None:
    applied(retry("reset"))
    first = int(call(mesh, "/forge").text)
    response = call(mesh, "/forge")
    assert (response.text, HEADER in response.headers) == (str(first + 1), False)
