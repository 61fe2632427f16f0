"""Who may only read cannot keep the control plane busy: diffs are bounded in input, number and time."""

from __future__ import annotations

import json
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.control_plane.attacks.conftest import Api, until
from tests.scale.plane import ControlPlaneProcess, control_plane

WORKER = "meshwright.control_plane.worker"

DEAR = 120
"""Routes of four matches each, which cost seconds and are below the limit."""


def routes(count: int, rules: int, matches: int) -> dict[str, Any]:
    """A diff of HTTPRoutes at the ingress."""
    parent = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "ingress"}
    return {
        "documents": [
            {
                "document": {
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "HTTPRoute",
                    "metadata": {"name": f"r{number}"},
                    "spec": {
                        "parentRefs": [parent],
                        "rules": [_rule(number, n, matches) for n in range(rules)],
                    },
                }
            }
            for number in range(count)
        ]
    }


def _rule(route: int, rule: int, matches: int) -> dict[str, Any]:
    paths = [f"/{route}/{rule}/{match}" for match in range(matches)]
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": path}} for path in paths],
        "backendRefs": [{"name": "orders"}],
    }


def workers(plane: ControlPlaneProcess) -> list[psutil.Process]:
    """The processes in which it computes; the Envoy that verifies changes is none."""
    computing = []
    for child in psutil.Process(plane.process.pid).children():
        with suppress(psutil.NoSuchProcess):
            if WORKER in child.cmdline():
                computing.append(child)
    return computing


def post(api: Api, body: Any) -> socket.socket:
    """Send a diff and return the connection without reading from it."""
    url, content = urlsplit(api.url), json.dumps(body).encode()
    connection = socket.create_connection((url.hostname, url.port), timeout=60)
    head = (
        f"POST /api/v1/diff HTTP/1.1\r\nHost: {url.netloc}\r\nAuthorization: Bearer {api.token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection.sendall(head.encode() + content)
    return connection


def test_documents_rules_and_bytes_of_a_diff_are_bounded(plane: ControlPlaneProcess, reader: Api) -> None:
    before = plane.cpu_seconds
    for body in (routes(200, 16, 8), routes(2_001, 1, 1), routes(1, 2_100, 1)):
        response = reader.request("POST", "/diff", body)
        assert response.status_code == 413, response.text[:300]
        assert response.json()["error"]["code"] == "too-large"
    assert plane.cpu_seconds - before < 5
    assert not workers(plane)


def test_one_diff_at_a_time_and_the_rest_is_told_to_come_back(
    plane: ControlPlaneProcess, reader: Api, admin: Api
) -> None:
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(reader.request, "POST", "/diff", routes(DEAR, 1, 4)) for _ in range(8)]
        until(lambda: workers(plane), "a diff is computed")
        running = 0
        while not all(call.done() for call in calls):
            running = max(running, len(workers(plane)))
        assert running == 1
        statuses = sorted(call.result().status_code for call in calls)
    assert set(statuses) <= {200, 413, 503}
    assert statuses[0] == 200
    busy = [call.result() for call in calls if call.result().status_code == 503]
    assert busy
    assert all(int(response.headers["Retry-After"]) > 0 for response in busy)
    assert admin.request("POST", "/diff", routes(1, 1, 1)).status_code == 200


def test_a_diff_ends_with_its_client(plane: ControlPlaneProcess, reader: Api) -> None:
    connection = post(reader, routes(DEAR, 1, 8))
    (worker,) = until(lambda: workers(plane), "the diff is computed")
    connection.close()
    until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE, "the worker has ended")
    assert reader.request("POST", "/diff", routes(1, 1, 1)).status_code == 200


def test_memory_of_a_diff_is_given_back(plane: ControlPlaneProcess, reader: Api) -> None:
    before = plane.rss_bytes
    for _ in range(2):
        assert reader.request("POST", "/diff", routes(DEAR, 1, 2)).status_code == 200
    assert plane.rss_bytes - before < 64 * 1024 * 1024


def test_a_running_diff_does_not_delay_the_end_of_the_process(tmp_path: Path) -> None:
    with control_plane(tmp_path) as plane:
        reader = Api(plane, "read.token")
        small = routes(1, 1, 1)
        until(lambda: reader.request("POST", "/diff", small).status_code == 200, "diffs are computed")
        with post(reader, routes(DEAR, 1, 8)):
            (worker,) = until(lambda: workers(plane), "the diff is computed")
            os.kill(plane.process.pid, signal.SIGTERM)
            assert plane.process.wait(30) == 0
        until(lambda: not worker.is_running(), "the worker has ended")
