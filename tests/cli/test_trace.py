"""The demo as it is seen: who calls whom, every proxy and service in an order's trace, failures explained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Set
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from meshwright.cli.http import call_api
from meshwright.cli.startup_summary import MAX_PROBES
from meshwright.control_plane.api import calls as calls_module
from tests.cli.test_traffic_command import READY, Demo, demo
from tests.envoy.harness import settings, until
from tests.fakes.ports import free_port

THROUGH_INGRESS = ("analytics", "catalog", "inventory", "orders", "storefront", "trading")
CALLS = {
    **{("ingress", to): "http" for to in THROUGH_INGRESS},
    ("orders", "catalog"): "http",
    ("orders", "inventory"): "http",
    ("storefront", "catalog"): "http",
    ("storefront", "orders"): "http",
    ("trading", "analytics"): "grpc",
}
"""Who calls whom in the exchange, and by what: prices and stock of an order, the dashboard, the ticks."""

ORDER = {"userId": "user-1", "items": [{"productId": "seed-plate", "quantity": 1}]}
FAULT = """
apiVersion: meshwright.io/v1
kind: FaultInjection
metadata: {name: no-catalog}
spec:
  targetRefs: [{kind: Service, name: catalog}]
  from: [orders]
  abort: {status: 503, percent: 100}
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    folder = tmp_path_factory.mktemp("demo")
    environment, port = settings(folder / "state"), free_port()
    with demo(folder, environment, "--port", f"ingress={port}") as child:
        assert child.stdout is not None
        assert any(line.startswith(READY) for line in child.stdout)
        yield Demo(folder, environment, child, port)


def order(running: Demo, key: str) -> int:
    """The status of an order."""
    url = f"{running.url}/api/orders"
    return requests.post(url, json=ORDER, headers={"Idempotency-Key": key}, timeout=20).status_code


def tellers(trace: dict[str, Any]) -> set[tuple[str, bool]]:
    """Who told of it: services, and whether their proxy did."""
    return {(span["service"], span["proxy"]) for span in trace["tree"]}


def newest(
    running: Demo, least: int, *arguments: str, by: Set[tuple[str, bool]] = frozenset()
) -> dict[str, Any]:
    """The newest trace with so many spans, by these tellers, and no gap: spans come in batches."""

    def found() -> dict[str, Any] | None:
        listed = json.loads(running.mesh("traces", *arguments, "-o", "json"))["traces"]
        large = [one for one in listed if one["request"] == "POST /api/orders" and one["spans"] >= least]
        for one in large[:1]:
            read: dict[str, Any] = json.loads(running.mesh("trace", one["id"][:12], "-o", "json"))
            known = {"", *(span["id"] for span in read["tree"])}
            if by <= tellers(read) and all(span["parent"] in known for span in read["tree"]):
                return read
        return None

    whole: dict[str, Any] = until(found, "the trace of an order", 60, 0.5)
    return whole


def graph(running: Demo) -> dict[str, Any] | None:
    """The topology when it shows all calls, no others, and every service healthy."""
    found: dict[str, Any] = json.loads(running.mesh("topology", "-o", "json"))
    calls = {(one["from"], one["to"]): one["protocol"] for one in found["edges"]}
    return found if calls == CALLS and {one["health"] for one in found["nodes"]} == {"healthy"} else None


def test_the_graph_is_the_exchanges_own(running: Demo) -> None:
    state = running.folder / "state"
    with ThreadPoolExecutor(1) as aside:
        sending = aside.submit(running.counts, "--traffic", "20", "--for", "20")
        found = until(lambda: graph(running), f"{CALLS} and all healthy, while they are called", 60, 1.0)
        counts = sending.result()
    assert counts["errors"] == 0
    assert all(one["mtls"] and one["success"] == 1 for one in found["edges"])

    def told() -> int:
        histories = (
            call_api(calls_module.edge_history("ingress", to), state)["points"] for to in THROUGH_INGRESS
        )
        counted: float = sum(point["requests"] for points in histories for point in points)
        return round(counted)

    until(lambda: told() >= counts["sent"], "the last flush")
    assert told() <= counts["sent"] + MAX_PROBES


def test_one_trace_of_an_order_holds_every_proxy_and_service(running: Demo) -> None:
    assert order(running, "a-traced-order") == 201
    services = ("orders", "catalog", "inventory")
    wanted = {("ingress", True), *((s, p) for s in services for p in (True, False))}
    trace = newest(running, 17, "--service", "orders", by=wanted)
    spans = {span["id"]: span for span in trace["tree"]}
    roots = [span for span in trace["tree"] if not span["parent"]]
    assert [(root["service"], root["proxy"]) for root in roots] == [("ingress", True)]
    assert all(span["parent"] in spans for span in trace["tree"] if span["parent"])
    assert tellers(trace) == wanted
    for span in trace["tree"]:
        parent = spans.get(span["parent"])
        if parent and parent["service"] != span["service"]:
            assert (parent["kind"], parent["proxy"]) == ("client", True)
            assert (span["kind"], span["proxy"]) == ("server", True)
            assert parent["attributes"]["upstream_cluster.name"] == span["service"]
        elif parent and span["proxy"] != parent["proxy"]:
            assert (parent["kind"], span["kind"]) == ("client", "server")
    assert "orders" in running.mesh("trace", trace["id"])


def test_a_failure_is_explained_in_words(running: Demo) -> None:
    policy = running.folder / "fault.yaml"
    policy.write_text(FAULT)
    running.mesh("apply", "-f", str(policy), "--wait")
    assert order(running, "an-order-that-fails") >= 500
    trace = newest(running, 5, "--service", "orders", "--errors")
    words = running.mesh("trace", trace["id"])
    assert "FI: the request was failed on purpose (FaultInjection)" in words
    assert max(len(line) for line in words.splitlines()) <= 80
