"""What `mesh authz` prints."""

from __future__ import annotations

from typing import Any

from ruamel.yaml import YAML

from meshwright.cli.authz import client_rows, matrix_rows, suggestion_lines
from meshwright.cli.authz_check import check_lines, probe_lines
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
        "✖ orders → inventory: denied: no allow rule matches",
        "  Authorization/a  a.yaml:1, revision 3, by ann",
        "  only 1 of 2 proxies of inventory have this yet",
    ]


def test_a_clients_call_shows_the_way_and_whose_rules_decide() -> None:
    reached = {"place": "orders", "route": "HTTPRoute/shop", "services": ["orders"]}
    assert list(check_lines({**VERDICT, **reached}, "anybody", "ingress"))[:2] == [
        "✖ anybody → ingress → orders: denied by orders: no allow rule matches",
        "  route HTTPRoute/shop",
    ]


def test_a_probe_says_what_each_sidecar_answers() -> None:
    verdicts = [
        {"instance": "a-1", "verdict": "denied", "rule": "none", "answer": ""},
        {"instance": "a-2", "verdict": "allowed", "rule": "", "answer": ""},
        {"instance": "a-3", "verdict": "unknown", "rule": "", "answer": "503 no healthy upstream"},
    ]
    assert list(probe_lines({"check": VERDICT, "verdicts": verdicts})) == [
        "  ● a-1 says denied: no allow rule matches",
        "  ✖ a-2 says allowed",
        "  ◐ a-3 says unknown: 503 no healthy upstream",
    ]


def test_matrix_has_a_row_for_each_caller() -> None:
    services = [
        {"service": "a", "callers": {"x": "partly"}, "others": "denied"},
        {"service": "b", "callers": {}, "others": "allowed"},
    ]
    assert list(matrix_rows(["x", "y"], services)) == [["x", "◐", "●"], ["y", "✖", "●"]]


def test_clients_of_a_gateway_have_a_row() -> None:
    services = [{"service": "a", "clients": {"ingress": "partly"}}, {"service": "b", "clients": {}}]
    assert list(client_rows(services)) == [["outside → ingress", "◐", ""]]


def test_suggestions_are_valid_policies_with_the_callers_that_were_seen() -> None:
    observed = [
        {"caller": "ingress", "role": "gateway", "service": "orders", "requests": 4.0},
        {"caller": "orders", "role": "service", "service": "inventory", "requests": 3.0},
        {"caller": "trading", "role": "service", "service": "inventory", "requests": 1.0},
    ]
    text = "\n".join(suggestion_lines(observed, 900.0))
    assert "# What was called in the last 15 minutes" in text
    assert "- orders  # 3 calls" in text
    documents = [document for document in YAML(typ="safe").load_all(text) if document]
    policies = [Authorization.model_validate(document) for document in documents]
    assert [policy.ref for policy in policies] == [
        "Authorization/inventory-callers", "Authorization/orders-callers",
    ]  # fmt: skip
    assert policies[0].spec.rules[0].from_[0].services == ("orders", "trading")
    assert policies[1].spec.rules[0].from_[0].gateways == ("ingress",)
