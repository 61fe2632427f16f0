"""What the demo shows: its page, its service graph, the trace of an order, the explanation of a failure."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests

from meshwright.cli.http import call_api
from meshwright.cli.startup_summary import MAX_PROBES
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.errors import ApiError
from meshwright.services.inventory.domain import SEED_STOCK
from tests.cli import exchange_page
from tests.cli.dealing import Dealings, dealing, migrate
from tests.cli.demo.running import Demo
from tests.cli.schemathesis_run import explore
from tests.envoy.harness import ROOT, until
from tests.services.exchange_state import query, settled
from tests.services.ingress import PASSWORD, authorization
from tests.tui.web.browser import open_browser

INGRESS_SERVICES = ("analytics", "catalog", "inventory", "legacy", "nfts", "orders", "storefront")
EDGES = {
    **{("ingress", to): "http" for to in (*INGRESS_SERVICES, "users")},
    **{
        (caller, "broker"): "tcp" for caller in ("orders", "inventory", "analytics", "users", "notifications")
    },
    ("notifications", "inbox"): "tcp",
    ("orders", "catalog"): "http",
    ("orders", "inventory"): "http",
    ("orders", "payments"): "http",
    ("storefront", "catalog"): "http",
    ("storefront", "orders"): "http",
    ("legacy", "trading"): "http",
    ("nfts", "trading"): "http",
    ("trading", "analytics"): "grpc",
}
"""The edges of the demo with their protocols: an order's calls, the dashboard, ticks, events, users."""

PROBED = {
    *(("ingress", to) for to in ("payments", "mobile", "notifications", "inbox")),
    *(("mobile", to) for to in ("catalog", "nfts", "notifications", "orders", "users")),
    ("nfts", "users"),
    *(("storefront", to) for to in (*INGRESS_SERVICES, "inbox", "mobile", "notifications")),
    *(("storefront", to) for to in ("payments", "users")),
    ("users", "nfts"),
}
"""Edges that may be there too: without traffic, but with the first probe of a breaker."""

ORDER = {"items": [{"productId": "seed-plate", "quantity": 1}], "cardToken": "tok"}
FAULT = """
apiVersion: meshwright.io/v1
kind: FaultInjection
metadata: {name: no-catalog}
spec:
  targetRefs: [{kind: Service, name: catalog}]
  from: [orders]
  abort: {status: 503, percent: 100}
"""


def order(running: Demo, key: str) -> int:
    """Place an order; returns the HTTP status."""
    headers = {"Idempotency-Key": key, **authorization(running.url)}
    return requests.post(f"{running.url}/api/orders", json=ORDER, headers=headers, timeout=20).status_code


def post(running: Demo, path: str, **body: str) -> requests.Response:
    """Post JSON at the ingress."""
    return requests.post(f"{running.url}{path}", json=body, timeout=20)


def reporters(trace: dict[str, Any]) -> set[tuple[str, bool]]:
    """The reporters of the spans: each service, and whether it is its proxy."""
    return {(span["service"], span["proxy"]) for span in trace["tree"]}


def newest_trace(
    running: Demo, min_spans: int, *arguments: str, since: str = "", by: Set[tuple[str, bool]] = frozenset()
) -> dict[str, Any]:
    """The newest trace of an order after `since` (RFC 3339), once complete: spans arrive in batches."""

    def complete() -> dict[str, Any] | None:
        listed = json.loads(running.mesh("traces", *arguments, "-o", "json"))["items"]
        orders = [each for each in listed if each["request"] == "POST /api/orders" and each["start"] >= since]
        for summary in orders[:1]:
            trace: dict[str, Any] = json.loads(running.mesh("trace", summary["id"][:12], "-o", "json"))
            ids = {"", *(span["id"] for span in trace["tree"])}
            complete = all(span["parent"] in ids for span in trace["tree"])
            if complete and len(trace["tree"]) >= min_spans and by <= reporters(trace):
                return trace
        return None

    result: dict[str, Any] = until(complete, "the trace of an order", 60, 0.5)
    return result


def graph(running: Demo) -> dict[str, Any] | None:
    """The topology once it has EDGES, none but those and PROBED, every node healthy and no failed call."""
    topology: dict[str, Any] = json.loads(running.mesh("topology", "-o", "json"))
    edges = {(edge["from"], edge["to"]): edge["protocol"] for edge in topology["edges"]}
    healths = {node["health"] for node in topology["nodes"]}
    is_complete = EDGES.items() <= edges.items() and edges.keys() - EDGES.keys() <= PROBED
    # Calls from before a service was ready make nobody unhealthy, and are counted for ten seconds.
    is_served = healths == {"healthy"} and all(edge["success"] == 1 for edge in topology["edges"])
    return topology if is_complete and is_served else None


def test_topology_shows_the_edges_of_the_demo(running: Demo) -> None:
    state = running.folder / "state"
    with ThreadPoolExecutor(1) as executor:
        sending = executor.submit(running.counts, "--traffic", "4", "--for", "20")
        result = until(lambda: graph(running), f"{EDGES}, all healthy, under traffic", 60, 1.0)
        counts = sending.result()
    assert counts["errors"] == 0
    assert all(edge["mtls"] for edge in result["edges"])

    def requests_in_history() -> int:
        histories = (call_api(calls.edge_history("ingress", to), state)["points"] for to in INGRESS_SERVICES)
        total: float = sum(point["requests"] for points in histories for point in points)
        return round(total)

    sent = sum(route["sent"] for name, route in counts["routes"].items() if "/api/auth/" not in name)
    until(lambda: requests_in_history() >= sent, "the last flush")
    assert requests_in_history() <= sent + MAX_PROBES


def test_the_trace_of_an_order_has_every_proxy_and_service(running: Demo) -> None:
    assert order(running, "a-traced-order") == 201
    services = ("orders", "catalog", "inventory", "payments")
    expected = {("ingress", True), *((s, p) for s in services for p in (True, False))}
    expected |= {("analytics", False), ("notifications", False)}  # events and mail continue its trace
    trace = newest_trace(running, 35, "--service", "orders", by=expected)
    spans = {span["id"]: span for span in trace["tree"]}
    roots = [span for span in trace["tree"] if not span["parent"]]
    assert [(root["service"], root["proxy"]) for root in roots] == [("ingress", True)]
    assert all(span["parent"] in spans for span in trace["tree"] if span["parent"])
    assert reporters(trace) == expected
    for span in trace["tree"]:
        parent = spans.get(span["parent"])
        if span["kind"] == "consumer":
            assert parent and parent["service"] == "orders"
            assert span["service"] in ("analytics", "notifications")
        elif parent and parent["service"] != span["service"]:
            assert (parent["kind"], parent["proxy"]) == ("client", True)
            assert (span["kind"], span["proxy"]) == ("server", True)
            assert parent["attributes"]["upstream_cluster.name"] == span["service"]
        elif parent and span["proxy"] != parent["proxy"]:
            assert (parent["kind"], span["kind"]) == ("client", "server")
    assert "orders" in running.mesh("trace", trace["id"])


def test_a_person_signs_up_at_the_ingress_and_sees_only_their_own_data(running: Demo) -> None:
    """The ingress verifies the token with the keys of users, and nobody else can say who the caller is."""
    user = post(running, "/api/auth/signup", email="eve@example.com", password=PASSWORD).json()
    tokens = post(running, "/api/auth/login", email="eve@example.com", password=PASSWORD).json()
    token = {"authorization": f"Bearer {tokens['access_token']}"}
    url = f"{running.url}/api/users/{user['id']}"

    def status(url: str, headers: dict[str, str]) -> int:
        return requests.get(url, headers=headers, timeout=20).status_code

    until(lambda: status(url, token) == 200, "the ingress has the keys of users", 60)
    forged = {"x-user-id": user["id"], "x-user-roles": "WyJhZG1pbiJd"}  # ["admin"]
    assert status(url, forged) == 401
    assert status(f"{url}/roles", {**token, **forged}) == 403
    assert status(f"{running.url}/api/users/somebody", token) == 403
    assert post(running, "/api/auth/logout", refresh_token=tokens["refresh_token"]).status_code == 204
    assert status(url, token) == 401


@dataclass(frozen=True)
class DemoData:
    """The databases of a running demo."""

    folder: Path


def test_orders_go_on_while_the_broker_hangs_for_ten_seconds(running: Demo) -> None:
    """Its connections through the sidecars stay, and nobody answers. Events wait, and are applied later."""
    [broker] = json.loads(running.mesh("ps", "broker", "-o", "json"))["items"]
    headers, number = authorization(running.url), 0

    def placed() -> bool:
        nonlocal number
        number += 1
        headers["Idempotency-Key"] = f"without-broker-{number}"
        response = requests.post(f"{running.url}/api/orders", json=ORDER, headers=headers, timeout=20)
        assert response.status_code == 201, response.text
        return True

    os.kill(broker["process"]["pid"], signal.SIGSTOP)
    try:
        end = time.monotonic() + 10
        until(lambda: placed() and time.monotonic() > end, "an order after 10 s", every=1.0)
    finally:
        os.kill(broker["process"]["pid"], signal.SIGCONT)
    data = DemoData(running.folder / "state")
    statuses = asyncio.run(settled(data, {"seed-plate": SEED_STOCK["seed-plate"]}))
    figures = [(statuses.total(), statuses["confirmed"], statuses["cancelled"])]
    counted = "SELECT sum(created), sum(confirmed), sum(cancelled) FROM daily_figures"
    until(lambda: query(data, "analytics", counted) == figures, f"the daily figures are {figures}", 120)
    assert query(data, "orders", "SELECT count(*) FROM outbox") == [(0,)]
    assert statuses["confirmed"] >= number


async def test_a_person_orders_on_the_page(running: Demo) -> None:
    async with open_browser() as browser:
        await exchange_page.buy(browser, running.url, "page@example.com")


def described(running: Demo) -> str:
    """The URL of the joint document, once it has the operations of all services."""
    url = f"{running.url}/api/openapi.json"
    until(lambda: "x-missing" not in requests.get(url, timeout=60).json(), "all services are described", 60)
    return url


def test_one_document_describes_all_operations(running: Demo) -> None:
    paths = requests.get(described(running), timeout=60).json()["paths"]
    assert {"/api/orders", "/api/nfts", "/api/quotes/{symbol}", "/api/mobile/home"} <= paths.keys()


@pytest.mark.parametrize("examples", [2, pytest.param(50, marks=pytest.mark.long)])
def test_no_request_of_the_joint_document_fails(running: Demo, examples: int) -> None:
    url = described(running)
    other_client = {"X-Forwarded-For": "203.0.113.7"}  # whose attempts to sign in are counted apart
    explore(url, {**authorization(running.url), **other_client}, examples, running.folder)


def route_quotes(running: Demo, name: str) -> None:
    """Apply a step of the move to trading."""
    running.mesh("apply", "-f", str(ROOT / "services" / "policies" / name), "--wait")


def is_healthy(running: Demo, service: str) -> bool:
    """Whether all instances of a service are healthy, and there are some."""
    services = json.loads(running.mesh("status", "-o", "json"))["services"]
    [entry] = (entry for entry in services if entry["name"] == service)
    return bool(0 < entry["instances"] == entry["healthy"])


def has_last_quotes(running: Demo, service: str, dealings: Dealings) -> bool:
    """Whether a service's database has what was acknowledged last for each pair."""
    sql = "SELECT symbol, version, price FROM dealer_quotes"
    rows = query(DemoData(running.folder / "state"), service, sql)
    stored = {symbol: (version, price) for symbol, version, price in rows}
    return all(
        stored.get(pair) == (quote["version"], quote["price"]) for pair, quote in dealings.quotes.items()
    )


def test_quotes_are_at_trading_too_and_back_at_legacy_under_traffic(running: Demo) -> None:
    with dealing(running.url, running.folder / "state" / "data") as dealings:
        migrate(running.folder / "state" / "data", 2)
        route_quotes(running, "quotes/rollout.yaml")
        until(lambda: "step 1 of 3" in running.mesh("rollout", "status", "quotes"), "trading gets copies", 60)
        assert dealings.readers.keys() == {"legacy"}
        for _ in range(2):
            running.mesh("rollout", "promote", "quotes")
        until(
            lambda: "step 3 of 3: 50 %" in running.mesh("rollout", "status", "quotes"),
            "half of the reads",
            60,
        )
        dealings.more(30)
        assert dealings.readers.keys() == {"legacy", "trading"}, dealings.readers
        running.mesh("rollout", "abort", "quotes")
        running.mesh("delete", "rollout/quotes", "--wait")
        migrate(running.folder / "state" / "data", 0)
        dealings.more()
        assert dealings.readers.keys() == dealings.writers.keys() == {"legacy"}
    assert has_last_quotes(running, "legacy", dealings)
    assert not has_last_quotes(running, "trading", dealings)


@pytest.mark.long
@pytest.mark.timeout(1800)  # some forty commands
def test_quotes_move_off_the_monolith_and_back_under_traffic(running: Demo) -> None:
    """All phases and steps in both directions. Nobody notices, and in the end legacy can be stopped."""
    with dealing(running.url, running.folder / "state" / "data") as dealings:
        for phase, step, readers in (
            (1, "legacy", {"legacy"}),
            (2, "quotes/1-mirrored", {"legacy"}),
            (None, "quotes/2-canary", {"legacy"}),
            (3, "quotes/3-weights-10", {"legacy", "trading"}),
            (None, "quotes/4-weights-50", {"legacy", "trading"}),
            (None, "quotes/5-weights-100", {"trading"}),
            (4, "quotes/6-retired", {"trading"}),
            (5, "quotes/6-retired", {"trading"}),
        ):
            if phase is not None:
                migrate(running.folder / "state" / "data", phase)
            route_quotes(running, f"{step}.yaml")
            dealings.more(100)
            assert dealings.readers.keys() == readers, (step, dealings.readers)
            assert dealings.writers.keys() == {"trading" if "retired" in step else "legacy"}
        running.mesh("stop", "legacy")
        dealings.more()
        running.mesh("start", "legacy")
        until(lambda: is_healthy(running, "legacy"), "legacy is healthy again", 120)
        for step, phase in (
            ("quotes/5-weights-100", 4),
            ("quotes/4-weights-50", 3),
            ("legacy", 2),
            ("legacy", 0),
        ):
            route_quotes(running, f"{step}.yaml")
            migrate(running.folder / "state" / "data", phase)
            dealings.more()
            assert dealings.writers.keys() == {"legacy"}
    assert has_last_quotes(running, "legacy", dealings)
    assert dealings.count > 500


def test_the_waterfall_explains_a_failure(running: Demo) -> None:
    policy = running.folder / "fault.yaml"
    policy.write_text(FAULT)
    running.mesh("apply", "-f", str(policy), "--immediate", "--wait")
    since = datetime.now(UTC).isoformat()
    assert order(running, "an-order-that-fails") >= 500
    running.mesh("delete", "-f", str(policy), "--wait")
    trace = newest_trace(running, 5, "--service", "orders", "--errors", since=since)
    waterfall = running.mesh("trace", trace["id"])
    assert "FI: a fault injection aborted the request (FaultInjection)" in waterfall
    assert max(len(line) for line in waterfall.splitlines()) <= 80


def test_a_page_of_the_exchange_may_call_and_no_other(running: Demo) -> None:
    """Preflight requests carry no token, and no route is for OPTIONS."""
    page = {"Origin": "https://shop.exchange.example", "Access-Control-Request-Method": "PUT"}
    answer = requests.options(f"{running.url}/api/inventory/seed-plate", headers=page, timeout=20)
    assert answer.headers["access-control-allow-origin"] == page["Origin"]
    assert "PUT" in answer.headers["access-control-allow-methods"]
    refused = requests.get(f"{running.url}/api/orders", headers=page, timeout=20)
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, page["Origin"])
    stranger = page | {"Origin": "https://exchange.example.evil.example"}
    answer = requests.options(f"{running.url}/api/inventory/seed-plate", headers=stranger, timeout=20)
    assert "access-control-allow-origin" not in answer.headers


def test_sidecars_let_through_the_allowed_pairs_of_the_demo_and_no_other(running: Demo) -> None:
    """Behind the test of the topology: a probe is a call."""
    state = running.folder / "state"
    matrix = call_api(calls.access_matrix(), state)

    def verdicts(pair: tuple[str, str]) -> set[str]:
        caller, service = pair
        query = {"caller": caller, "service": service, "path": "/health/ready"}
        try:
            probe = call_api(calls.probe_access(query), state)
        except ApiError as error:
            assert "is for TCP" in str(error), error
            return set()
        computed = "allowed" if probe["check"]["allowed"] else "denied"
        assert probe["verdicts"], pair
        assert {answer["verdict"] for answer in probe["verdicts"]} == {computed}, (pair, probe)
        return {computed}

    may = {
        (caller, row["service"]): row["callers"].get(caller, row["others"])
        for row in matrix["services"]
        for caller in matrix["callers"]
        if caller != "broker"
    }
    with ThreadPoolExecutor(4) as executor:
        seen = dict(zip(may, executor.map(verdicts, may), strict=True))
    assert {pair for pair, verdict in seen.items() if verdict == {"allowed"}} <= {
        pair for pair, access in may.items() if access != "denied"
    }
    assert all(verdict == {"allowed"} for pair, verdict in seen.items() if verdict and may[pair] == "allowed")
    assert {"allowed"} in seen.values()
    assert {"denied"} in seen.values()
    status = json.loads(running.mesh("status", "-o", "json"))
    assert all(entry["healthy"] == entry["instances"] for entry in status["services"])
    assert {entry["state"] for entry in status["proxies"]} == {"synced"}


def test_attempts_to_sign_in_are_limited(running: Demo) -> None:
    """Those of one client: the gateway believes a proxy on loopback who that is."""
    url, client = f"{running.url}/api/auth/refresh", {"x-forwarded-for": "203.0.113.9"}
    body = {"refresh_token": "none"}
    statuses = [requests.post(url, json=body, headers=client, timeout=20).status_code for _ in range(101)]
    assert statuses[-1] == 429
    assert set(statuses) == {401, 429}
    assert requests.get(f"{running.url}/api/catalog/products", timeout=20).status_code == 200
