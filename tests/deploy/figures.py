"""What Prometheus and a control plane of a running docker-compose.yml answer about its traffic."""

from __future__ import annotations

import json
from typing import Any

from tests.deploy.containers import Engine


def asked(running: Engine, path: str, **query: str) -> Any:
    """An answer of Prometheus's API."""
    texts = [word for name, value in query.items() for word in ("--data-urlencode", f"{name}={value}")]
    url = f"http://127.0.0.1:9090/api/v1/{path}"
    done = running.containers["prometheus"].run("curl", "-sS", "--max-time", "20", "-G", *texts, url)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["status"] == "success", document
    return document["data"]


def asked_once(running: Engine, query: str) -> bool:
    """Whether a query has any result."""
    return bool(asked(running, "query", query=query)["result"])


def counted(running: Engine, caller: str, callee: str) -> tuple[float, float]:
    """Calls of the last minute, and failures among them, as the control plane has counted them."""
    url = f"http://127.0.0.1:15080/api/v1/topology/{caller}/{callee}"
    token = "Authorization: Bearer $(cat /var/lib/meshwright/state/admin.token)"
    ask = f'curl -sS --fail --max-time 20 -H "{token}" {url}'
    done = running.containers["control-plane-1"].run("sh", "-c", ask, within=90)
    assert done.returncode == 0, done.stderr
    minute = [point for point in json.loads(done.stdout)["points"] if point["age_s"] <= 60]
    return sum(item["requests"] for item in minute), sum(item["failures"] for item in minute)


def recorded(running: Engine, caller: str, callee: str) -> tuple[float, float]:
    """The same by the recording rules; none where they have nothing."""
    edge = f'{{service="{caller}", callee="{callee}"}}'
    asks = [f"60 * mesh:edge_{text}:rate1m{edge}" for text in ("requests", "failures")]
    values = [asked(running, "query", query=ask)["result"] for ask in asks]
    requests, failures = (float(item[0]["value"][1]) if item else 0.0 for item in values)
    return requests, failures
