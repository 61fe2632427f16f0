"""The demo shop's application file and policies fit each other and the existing services."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.api.models.authorization import ObservedCall, ObservedCalls
from meshwright.control_plane.api.models.instances import Port
from meshwright.control_plane.core.translate import Translation, translate
from meshwright.control_plane.core.world import PolicyDocument, Service, World
from meshwright.control_plane.policies.loader import load_files
from meshwright.control_plane.status import access
from meshwright.control_plane.status.lint.findings import findings
from meshwright.services.storefront.overview import DESCRIBED

FOLDER = Path(__file__).resolve().parents[2] / "services"
POLICIES = sorted((FOLDER / "policies").glob("*.yaml"))

INTERNAL = {"broker", "trading"}
"""Services without a public route: trading gets one from the first step of the move on."""


@pytest.fixture(scope="module")
def application() -> dict[str, Any]:
    """The application file."""
    document: dict[str, Any] = YAML(typ="safe").load(FOLDER / "application.yaml")
    return document


def documents() -> list[dict[str, Any]]:
    """All policy documents."""
    return [document for path in POLICIES for document in YAML(typ="safe").load_all(path)]


def test_policies_are_valid() -> None:
    loaded = load_files([(path.name, path.read_bytes()) for path in POLICIES])
    assert loaded.problems == ()
    assert len(loaded.documents) == len(documents())


def test_every_command_runs_an_existing_module(application: dict[str, Any]) -> None:
    for service in application["spec"]["services"]:
        assert service["command"] == ["python", "-m", f"meshwright.services.{service['name']}"]
        assert importlib.util.find_spec(f"meshwright.services.{service['name']}.__main__")
        assert service["env"]["SERVICE_VERSION"] == service["labels"]["version"]


def test_routes_connect_the_gateway_with_services_of_the_application(application: dict[str, Any]) -> None:
    gateways = {gateway["name"] for gateway in application["spec"]["gateways"]}
    services = {service["name"] for service in application["spec"]["services"]}
    routes = [document["spec"] for document in documents() if document["kind"] == "HTTPRoute"]
    assert {ref["name"] for route in routes for ref in route["parentRefs"]} == gateways
    backends = [ref["name"] for route in routes for rule in route["rules"] for ref in rule["backendRefs"]]
    assert set(backends) == services - INTERNAL


def test_the_ingress_lets_nothing_but_sign_in_and_the_catalog_through_without_a_token() -> None:
    policies = [document for document in documents() if document["kind"] == "JWTAuthentication"]
    assert [policy["spec"]["targetRefs"][0]["kind"] for policy in policies] == ["Gateway"]
    assert policies[0]["spec"]["exceptions"] == [
        {"path": "/", "type": "Exact", "methods": ["GET"]},
        {"path": "/page", "type": "PathPrefix", "methods": ["GET"]},
        *(
            {"path": f"/api/{name}", "type": "Exact", "methods": ["GET"]}
            for name in ("openapi.json", "health", "ready")
        ),
        {"path": "/api/auth", "type": "PathPrefix", "methods": ["POST"]},
        {"path": "/api/catalog", "type": "PathPrefix", "methods": ["GET"]},
        {"path": "/api/products", "type": "PathPrefix", "methods": ["GET"]},
    ]


def test_each_client_of_the_ingress_is_limited_and_people_behind_a_hop_on_its_host_count_apart() -> None:
    by_client = [{"type": "ClientAddress"}]
    limits = {
        document["metadata"]["name"]: (document["spec"]["targetRefs"][0]["kind"], document["spec"]["limits"])
        for document in documents()
        if document["kind"] == "RateLimit"
    }
    assert limits == {
        "ingress": ("Gateway", [{"requests": 600, "per": "1m", "by": by_client}]),
        "auth": ("HTTPRoute", [{"requests": 100, "per": "15m", "by": by_client}]),
    }
    (gateway,) = (document["spec"] for document in documents() if document["kind"] == "Gateway")
    assert gateway["trustedProxies"] == ["127.0.0.0/8"]


def test_every_service_has_a_breaker_that_is_explained_and_tried_by_a_probe(
    application: dict[str, Any],
) -> None:
    breakers = {
        document["spec"]["targetRefs"][0]["name"]: document["spec"]
        for document in documents()
        if document["kind"] == "CircuitBreaker"
    }
    declared = {
        service["name"]: service.get("health")
        for service in application["spec"]["services"]
        if service["ports"][0]["protocol"] == "http"
    }
    assert breakers.keys() == declared.keys()
    assert all(spec["halfOpen"] == "probe" and spec["maxRequests"] for spec in breakers.values())
    assert all(declared.values()), "a trial asks for the declared health path"
    for name in breakers:
        text = (FOLDER / "policies" / f"{name}.yaml").read_text()
        before, _, _ = text.partition("kind: CircuitBreaker")
        lines = before.splitlines()
        assert lines[-2].startswith("#"), f"{name}: the comment says why"


CALLERS = {
    "analytics": {"ingress", "trading"},
    "broker": {"analytics", "inventory", "notifications", "orders", "users"},
    "catalog": {"ingress", "mobile", "orders", "storefront"},
    "inbox": {"ingress", "notifications"},
    "inventory": {"ingress", "orders"},
    "legacy": {"ingress"},
    "mobile": {"ingress"},
    "nfts": {"ingress", "mobile", "users"},
    "notifications": {"ingress", "mobile"},
    "orders": {"ingress", "mobile", "storefront"},
    "payments": {"ingress", "orders"},
    "storefront": {"ingress"},
    "trading": {"ingress", "legacy", "nfts"},
    "users": {"ingress", "mobile", "nfts"},
}
"""The call graph: who calls each service. Besides, storefront may ask all about themselves by HTTP, which
the broker does not speak.
"""


MAIL = ("notifications", "inbox")
"""The call by SMTP."""


def translated(application: dict[str, Any]) -> Translation:
    """What the policies make of the services of the application."""
    loaded = load_files([(path.name, path.read_bytes()) for path in POLICIES])
    ports = {service["name"]: service["ports"] for service in application["spec"]["services"]}
    services = {
        name: Service(
            name,
            tuple(
                Port(name=port["name"], number=port.get("number") or 80, protocol=port["protocol"])
                for port in listed
            ),
        )
        for name, listed in ports.items()
    }
    documents = tuple(PolicyDocument(item.policy, 1) for item in loaded.documents)
    return translate(World(1, services, documents, ("ingress",), "mesh.local"))


def test_of_all_pairs_only_the_call_graph_is_allowed(application: dict[str, Any]) -> None:
    result = access.matrix(translated(application))
    allowed = {
        row.service: {caller for caller in result.callers if row.callers.get(caller, row.others) != "denied"}
        for row in result.services
    }
    assert allowed == {callee: callers | {"storefront"} for callee, callers in CALLERS.items()}
    upstreams = [
        (s["name"], upstream) for s in application["spec"]["services"] for upstream in s.get("upstreams", ())
    ]
    assert all(caller in CALLERS[upstream] for caller, upstream in upstreams)


def test_no_timeout_is_inverted_and_no_retry_amplified_along_the_call_graph(
    application: dict[str, Any],
) -> None:
    calls = tuple(
        ObservedCall(
            caller=caller,
            role="gateway" if caller == "ingress" else "service",
            service=callee,
            protocol="tcp" if callee == "broker" or (caller, callee) == MAIL else "http",
            requests=60,
        )
        for callee, callers in CALLERS.items()
        for caller in sorted({*callers, "storefront"} if callee in DESCRIBED else callers)
    )
    assert findings(translated(application), ObservedCalls(seconds=3600, calls=calls)) == ()


def test_every_subset_selects_replicas_of_the_application(application: dict[str, Any]) -> None:
    subsets = [document["spec"] for document in documents() if document["kind"] == "Subset"]
    replicas = [(service["name"], service["labels"]) for service in application["spec"]["services"]]
    assert len(subsets) == 2
    for subset in subsets:
        assert (subset["service"], subset["labels"]) in replicas


def test_each_step_of_the_move_to_trading_replaces_the_route_of_quotes() -> None:
    """Each file alone is valid with the other policies, and only the reads and writes of quotes change."""
    others = [(path.name, path.read_bytes()) for path in POLICIES if path.name != "legacy.yaml"]
    backends = []
    for path in sorted((FOLDER / "policies/quotes").glob("[1-6]-*.yaml")):
        loaded = load_files([*others, (path.name, path.read_bytes())])
        assert loaded.problems == (), path.name
        [route] = YAML(typ="safe").load_all(path)
        assert (route["kind"], route["metadata"]["name"]) == ("HTTPRoute", "quotes")
        rules = route["spec"]["rules"]
        reads, writes = (
            [rule for rule in rules if rule["matches"][0]["method"] == m] for m in ("GET", "PUT")
        )
        assert len(reads) + len(writes) == len(rules)
        shares = {ref["name"]: ref.get("weight", 1) for ref in reads[-1]["backendRefs"]}
        [writer] = writes[0]["backendRefs"]
        backends.append((path.stem, shares, writer["name"]))
    assert backends == [
        ("1-mirrored", {"legacy": 1}, "legacy"),
        ("2-canary", {"legacy": 1}, "legacy"),
        ("3-weights-10", {"legacy": 90, "trading": 10}, "legacy"),
        ("4-weights-50", {"legacy": 50, "trading": 50}, "legacy"),
        ("5-weights-100", {"legacy": 0, "trading": 100}, "legacy"),
        ("6-retired", {"trading": 1}, "trading"),
    ]
