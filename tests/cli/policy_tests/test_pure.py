"""What `mesh test` decides without a process: the file, the mesh that it needs, and the verdicts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import KeySet

from meshwright.cli.documents import read_documents
from meshwright.cli.file_kinds import FILE_KINDS
from meshwright.cli.policy_tests.mesh_plan import MeshPlan, PlannedInstance, plan_mesh
from meshwright.cli.policy_tests.spec import Expectation, PolicyTest
from meshwright.cli.policy_tests.stubs import ReceivedRequest
from meshwright.cli.policy_tests.tokens import CaseTokens
from meshwright.cli.policy_tests.verdict import Exchange, failures
from meshwright.control_plane.policies.jwtauthentication.spec import BEARER, JWTAuthentication
from meshwright.control_plane.policies.loader import load

FOLDER = Path(__file__).parent


def plan() -> MeshPlan:
    """The mesh of the example beside this file."""
    test = read_documents([str(FOLDER / "tests.yaml")], allowed_kinds=FILE_KINDS).documents[0].policy
    assert isinstance(test, PolicyTest)
    policies = read_documents([str(FOLDER / "policies.yaml")]).documents
    return plan_mesh(test.spec.cases, test.spec.services, [item.policy for item in policies])


def verdict(expect: dict[str, object], *exchanges: Exchange) -> list[str]:
    """The messages of an expectation, as a file has it, about these exchanges."""
    return [item.message for item in failures(Expectation.model_validate(expect), exchanges, plan())]


V1 = PlannedInstance("reviews-1", "reviews", (("version", "v1"),))
V2 = PlannedInstance("reviews-2", "reviews", (("version", "v2"),))
AUDIT = PlannedInstance("audit-1", "audit")


def received(instance: PlannedInstance, path: str = "/", **headers: str) -> ReceivedRequest:
    """A request that an instance got."""
    return ReceivedRequest("0-0", instance, path, headers)


def test_mesh_has_what_cases_and_routes_name() -> None:
    """An instance for each Subset; `nowhere` has none, and storefront is there only as a caller."""
    instances = {(each.name, each.labels) for each in plan().instances}
    single = {(f"{name}-1", ()) for name in ("audit", "catalog", "orders", "slow", "stock", "storefront")}
    assert instances == {*single, (V1.name, V1.labels), (V2.name, V2.labels)}
    assert [gateway.name for gateway in plan().gateways] == ["ingress"]


@pytest.mark.parametrize(
    ("expect", "exchange", "messages"),
    [
        ({"status": 200}, Exchange(200), []),
        ({"status": 200}, Exchange(error="closed"), ["no response: closed"]),
        ({"answeredBy": "reviews"}, Exchange(200, instance=V2), []),
        (
            {"answeredBy": "reviews-v1"},
            Exchange(200, instance=V2),
            ["answeredBy: expected reviews-v1, got reviews (version: v2), status 200"],
        ),
        ({"refusedBy": "RateLimit/a"}, Exchange(429, body="mesh: RateLimit/a"), []),
        (
            {"refusedBy": "RateLimit/a"},
            Exchange(429, body="mesh: RateLimit/a", instance=V1),
            ["refusedBy: expected RateLimit/a, got reviews (version: v1), status 429"],
        ),
        ({"attempts": 1, "mirroredTo": "audit"}, Exchange(200, received=(received(V1), received(AUDIT))), []),
        (
            {"mirroredTo": "audit", "attempts": 0},
            Exchange(200, instance=V1, received=(received(V1),)),
            ["attempts: expected 0, got 1", "mirroredTo: expected audit, got no copy"],
        ),
        (
            {"path": "/a", "requestHeaders": {"X-A": "1", "x-b": None}},
            Exchange(200, received=(received(V1, "/c", **{"x-b": "2"}),)),
            [
                "path: expected /a, got /c",
                "requestHeaders.X-A: expected '1', got none",
                "requestHeaders.x-b: expected none, got '2'",
            ],
        ),
        (
            {"path": "/a"},
            Exchange(404, body="mesh: no"),
            ["path: expected a request at a service, got none: the mesh itself, status 404: mesh: no"],
        ),
        (
            {"responseHeaders": {"x-a": "1"}, "body": "ok"},
            Exchange(200, {"x-a": "2"}, ""),
            [
                "responseHeaders.x-a: expected '1', got '2'",
                "body: expected 'ok', got an empty body",
            ],
        ),
    ],
)
def test_verdict_names_what_differs(
    expect: dict[str, object], exchange: Exchange, messages: list[str]
) -> None:
    assert verdict(expect, exchange) == messages


def test_verdict_names_the_first_request_that_differs() -> None:
    got = verdict({"status": 200}, Exchange(200), Exchange(503), Exchange(500))
    assert got == ["request 2 of 3: status: expected 200, got 503"]


@pytest.mark.parametrize(("passed", "refused"), [(2, 2), (4, 0)])
def test_limit_must_come_after_exactly_so_many(passed: int, refused: int) -> None:
    exchanges = [Exchange(200)] * passed + [Exchange(429)] * refused
    assert bool(verdict({"limitedAfter": 2}, *exchanges)) == (passed != 2)
    assert verdict({"limitedAfter": 3}, *exchanges) != []


def test_shares_have_a_tolerance_of_four_standard_deviations() -> None:
    def shares(first: int, **more: object) -> list[str]:
        exchanges = [Exchange(200, instance=V1)] * first + [Exchange(200, instance=V2)] * (100 - first)
        return verdict({"shares": {"reviews-v1": 90}, **more}, *exchanges)

    assert shares(78) == []
    assert shares(77) == ["shares.reviews-v1: expected 90 % ± 12.0, got 77.0 % (77 of 100)"]
    assert shares(78, tolerance=5) == ["shares.reviews-v1: expected 90 % ± 5.0, got 78.0 % (78 of 100)"]


def test_gateway_leads_only_to_what_paths_may_match() -> None:
    """Otherwise a case of a gateway would start a sidecar for every service behind it."""
    test = """
apiVersion: meshwright.io/v1
kind: PolicyTest
metadata: {name: shop}
spec:
  cases: [{name: a, from: {gateway: ingress}, request: {path: /api/none}, expect: {status: 404}}]
"""
    policy = load(test.encode(), "tests.yaml", FILE_KINDS).documents[0].policy
    assert isinstance(policy, PolicyTest)
    routes = [item.policy for item in read_documents([str(FOLDER / "policies.yaml")]).documents]
    assert plan_mesh(policy.spec.cases, (), routes).instances == ()


def test_host_of_a_case_names_a_service_by_every_domain_of_the_mesh() -> None:
    test = """
apiVersion: meshwright.io/v1
kind: PolicyTest
metadata: {name: shop}
spec:
  cases: [{name: a, from: {service: storefront}, request: {host: orders.internal}, expect: {status: 200}}]
"""
    policy = load(test.encode(), "tests.yaml", FILE_KINDS).documents[0].policy
    assert isinstance(policy, PolicyTest)
    assert plan_mesh(policy.spec.cases, (), ()).services == ["storefront"]
    assert plan_mesh(policy.spec.cases, (), (), ("mesh", "internal")).services == ["orders", "storefront"]


def test_tokens_are_of_the_issuer_and_its_key_is_replaced() -> None:
    text = """
apiVersion: meshwright.io/v1
kind: JWTAuthentication
metadata: {name: a}
spec:
  targetRefs: [{kind: Gateway, name: ingress}]
  issuers:
    - {issuer: "https://a", jwks: {url: "http://users/keys"}, token: {cookie: session}}
"""
    policy = load(text.encode(), "a.yaml").documents[0].policy
    tokens = CaseTokens([policy])
    replaced = tokens.with_own_key(policy)
    assert isinstance(replaced, JWTAuthentication)
    keys = replaced.spec.issuers[0].jwks
    assert not keys.url

    token, place = tokens.sign({"sub": "u1", "iat": None}, 1000)
    claims = jwt.decode(token, KeySet.import_key_set(json.loads(keys.inline)), ["ES256"]).claims
    assert claims == {"iss": "https://a", "sub": "u1", "exp": 4600}
    assert place.cookie == "session"
    assert tokens.sign({"iss": "https://b"}, 1000)[1] == BEARER


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        ("from: {service: a}, expect: {status: 200}", "request.host is missing"),
        ("from: {service: a, gateway: b}, expect: {status: 200}", "set one of them"),
        ("from: {gateway: a}, expect: {}", "expects nothing"),
        ("from: {gateway: a}, expect: {limitedAfter: 3}", "set times to 4 or more"),
        ("from: {gateway: a}, expect: {shares: {a: 50}}", "set times to 20 or more"),
        ("from: {gateway: a}, expect: {staus: 200}", "status"),
    ],
)
def test_mistakes_are_named_with_their_place(case: str, problem: str) -> None:
    text = f"""apiVersion: meshwright.io/v1
kind: PolicyTest
metadata: {{name: shop}}
spec:
  cases:
    - {{name: a, {case}}}
"""
    (result,) = load(text.encode(), "tests.yaml", FILE_KINDS).problems
    assert str(result).startswith("tests.yaml:6:")
    assert problem in result.message
