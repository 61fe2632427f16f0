"""What `mesh authz` prints."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML

from meshwright.cli.authz import client_rows, matrix_rows
from meshwright.cli.authz_check import check_lines, probe_lines
from meshwright.cli.authz_suggest import suggestion_lines
from meshwright.control_plane.policies.authorization.spec import Authorization

VERDICT: dict[str, Any] = {
    "allowed": False,
    "message": "no allow rule matches",
    "rule": "",
    "policies": [{"name": "Authorization/a", "source": "a.yaml:1", "revision": 3, "author": "ann"}],
    "audited": [],
    "sidecars": 2,
    "synced": 1,
    "place": "inventory",
    "route": "",
    "services": [],
}


def test_check_names_policy_file_revision_and_author() -> None:
    assert list(check_lines(VERDICT, "orders", "inventory")) == [
        "× orders → inventory: denied: no allow rule matches",
        "  Authorization/a  a.yaml:1, revision 3, by ann",
        "  only 1 of 2 proxies of inventory have this yet",
    ]


def test_a_clients_call_shows_the_way_and_whose_rules_decide() -> None:
    reached = {"place": "orders", "route": "HTTPRoute/shop", "services": ["orders"]}
    assert list(check_lines({**VERDICT, **reached}, "anybody", "ingress"))[:2] == [
        "× anybody → ingress → orders: denied by orders: no allow rule matches",
        "  route HTTPRoute/shop",
    ]


def test_a_probe_says_what_each_sidecar_answers() -> None:
    verdicts = [
        {"instance": "a-1", "verdict": "denied", "rule": "none", "answer": ""},
        {"instance": "a-2", "verdict": "allowed", "rule": "", "answer": ""},
        {"instance": "a-3", "verdict": "unknown", "rule": "", "answer": "503 no healthy upstream"},
    ]
    assert list(probe_lines("denied", verdicts)) == [
        "  ● a-1 says denied: no allow rule matches",
        "  × a-2 says allowed",
        "  ▲ a-3 says unknown: 503 no healthy upstream",
    ]


def test_matrix_has_a_row_for_each_caller() -> None:
    services = [
        {"service": "a", "callers": {"x": "partly"}, "others": "denied"},
        {"service": "b", "callers": {}, "others": "allowed"},
    ]
    assert list(matrix_rows(["x", "y"], services)) == [["x", "▲", "●"], ["y", "×", "●"]]


def test_clients_of_a_gateway_have_a_row() -> None:
    services = [{"service": "a", "clients": {"ingress": "partly"}}, {"service": "b", "clients": {}}]
    assert list(client_rows(services)) == [["outside → ingress", "▲", ""]]


def observed(
    caller: str, service: str, requests: float, *operations: tuple[str, str, float], **fields: Any
) -> dict[str, Any]:
    call = {"caller": caller, "role": "service", "service": service, "requests": requests, "protocol": "http"}
    items = [
        {"method": method, "path": path, "requests": count, "grpc": fields.get("grpc", False)}
        for method, path, count in operations
    ]
    return {**call, "ports": [], "operations": items} | fields


def suggested(*calls: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """The rules by name of policy, of documents that are valid."""
    text = "\n".join(suggestion_lines(calls, 900.0))
    documents = [document for document in YAML(typ="safe").load_all(text) if document]
    for document in documents:
        Authorization.model_validate(document)
    return {document["metadata"]["name"]: document["spec"]["rules"] for document in documents}


def test_suggestions_name_callers_and_what_each_of_them_called() -> None:
    orders = (("POST", "/reservations", 2.0), ("GET", "/reservations/{id}", 1.0))
    rules = suggested(
        observed("ingress", "orders", 4.0, ("GET", "/a", 2.0), ("PUT", "/a", 2.0), role="gateway"),
        observed("orders", "inventory", 3.0, *orders),
        observed("trading", "inventory", 5_000.0, *((method, path, 200.0) for method, path, _ in orders)),
        observed("users", "inventory", 40.0, ("POST", "/shop.v1.Stock/Get", 40.0), grpc=True),
        observed("broker", "inventory", 40.0, ("GET", "/a", 39.0)),
    )
    assert rules["orders-callers"] == [
        {
            "name": "ingress",
            "from": [{"gateways": ["ingress"]}],
            "to": [{"methods": ["GET", "PUT"], "paths": [{"type": "Exact", "value": "/a"}]}],
        }
    ]
    assert rules["inventory-callers"] == [
        {
            "name": "callers",
            "from": [{"services": ["orders", "trading"]}],
            "to": [
                {"methods": ["GET"], "paths": [{"type": "Template", "value": "/reservations/{id}"}]},
                {"methods": ["POST"], "paths": [{"type": "Exact", "value": "/reservations"}]},
            ],
        },
        {
            "name": "users",
            "from": [{"services": ["users"]}],
            "to": [{"grpc": [{"service": "shop.v1.Stock", "method": "Get"}]}],
        },
        {"name": "broker", "from": [{"services": ["broker"]}]},
    ]


def test_a_suggestion_says_how_much_of_the_calls_is_recorded() -> None:
    text = "\n".join(suggestion_lines([observed("a", "b", 4_000.0, ("GET", "/x", 3.0))], 900.0))
    assert text.startswith("# What was called in the last 15 minutes")
    assert "# a: 4,000 requests, 3 of them recorded: too few" in text


def test_an_ambiguous_path_leaves_the_paths_of_a_service_out() -> None:
    rules = suggested(
        observed("a", "s", 1.0, ("GET", "/x", 1.0)),
        observed("b", "s", 2.0, ("PUT", "", 1.0), ("PUT", "/y", 1.0)),
    )
    assert [rule["to"] for rule in rules["s-callers"]] == [[{"methods": ["GET"]}], [{"methods": ["PUT"]}]]


def test_ports_are_named_where_a_service_has_several() -> None:
    rules = suggested(
        observed("a", "s", 1.0, ("GET", "/x", 1.0), ports=["http"]),
        observed("a", "s", 9.0, protocol="tcp", ports=["raw"]),
        observed("b", "s", 9.0, ports=["http"]),
    )
    assert [(rule["name"], rule["to"]) for rule in rules["s-callers"]] == [
        (
            "a",
            [{"methods": ["GET"], "paths": [{"type": "Exact", "value": "/x"}], "ports": ["http"]}],
        ),
        ("a-2", [{"ports": ["raw"]}]),
        ("b", [{"ports": ["http"]}]),
    ]


def test_too_much_for_a_policy_becomes_wider_rules() -> None:
    many = [observed(f"c{number}", "s", 1.0, ("GET", f"/p{number}", 1.0)) for number in range(130)]
    (rule,) = suggested(*many)["s-callers"]
    assert sum(len(match["services"]) for match in rule["from"]) == 130
    assert "to" not in rule
    (rule,) = suggested(observed("a", "s", 1.0, ("get", "", 1.0)))["s-callers"]
    assert "to" not in rule, "a method that no rule can name"
