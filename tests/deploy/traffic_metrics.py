"""Queries to Prometheus and to a control plane of a running docker-compose.yml."""

from __future__ import annotations

import json
from typing import Any

from tests.deploy.containers import Engine


def query_prometheus(running: Engine, path: str, **parameters: str) -> Any:
    """The data of a response of the Prometheus API."""
    options = [
        argument for name, value in parameters.items() for argument in ("--data-urlencode", f"{name}={value}")
    ]
    url = f"http://127.0.0.1:9090/api/v1/{path}"
    done = running.containers["prometheus"].run("curl", "-sS", "--max-time", "20", "-G", *options, url)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["status"] == "success", document
    return document["data"]


def has_data(running: Engine, expression: str) -> bool:
    """Whether an expression has any result."""
    return bool(query_prometheus(running, "query", query=expression)["result"])


def topology_calls(running: Engine, caller: str, callee: str) -> tuple[float, float]:
    """Calls of the last minute and the failures among them, from the topology of the control plane."""
    url = f"http://127.0.0.1:15080/api/v1/topology/{caller}/{callee}"
    token = "Authorization: Bearer $(cat /var/lib/meshwright/state/admin.token)"
    command = f'curl -sS --fail --max-time 20 -H "{token}" {url}'
    done = running.containers["control-plane-1"].run("sh", "-c", command, within=90)
    assert done.returncode == 0, done.stderr
    points = [point for point in json.loads(done.stdout)["points"] if point["age_s"] <= 60]
    return sum(point["requests"] for point in points), sum(point["failures"] for point in points)


def recorded_calls(running: Engine, caller: str, callee: str) -> tuple[float, float]:
    """The same from the recording rules; 0 where a rule has no data."""
    edge = f'{{service="{caller}", callee="{callee}"}}'
    expressions = [f"60 * mesh:edge_{name}:rate1m{edge}" for name in ("requests", "failures")]
    results = [query_prometheus(running, "query", query=text)["result"] for text in expressions]
    requests, failures = (float(result[0]["value"][1]) if result else 0.0 for result in results)
    return requests, failures
