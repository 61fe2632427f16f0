"""JWTAuthentication under traffic: a gateway and a service's sidecar verify tokens and refuse attacks."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import find_event, metrics
from tests.envoy.mesh_policies import applying, policy_document
from tests.envoy.test_kinds_under_load import repeated
from tests.fakes import jwt_keys as keys
from tests.fakes import jwt_rfc
from tests.fakes.jwt_keys import claims, token

EC, RSA = keys.key("ES256"), keys.key("RS256")
ALGORITHMS = {"ES256": EC, "RS256": RSA, **{name: keys.key(name) for name in ("PS256", "EdDSA", "ES384")}}
KEYS = keys.key_set(*(keys.jwk(key, name, name.lower()) for name, key in ALGORITHMS.items()))
PARTNER = "https://partner.test"
GATEWAY = "{kind: Gateway, name: ingress}"
SERVICE = "{kind: Service, name: back}"

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules:
  - name: admin
    matches: [{path: {value: /admin}}]
    backendRefs: [{name: back}]
  - backendRefs: [{name: back}]
"""


def issuer(jwks: str = "", name: str = keys.ISSUER, **more: Any) -> dict[str, Any]:
    source = {"inline": jwks or KEYS} if not jwks.startswith("http") else {"url": jwks, "refresh": "6s"}
    return {"issuer": name, "audiences": [keys.AUDIENCE], "jwks": source, **more}


def policy(name: str, target: str, *issuers: dict[str, Any], **spec: Any) -> str:
    return policy_document("JWTAuthentication", name, target, issuers=list(issuers) or [issuer()], **spec)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back"), service("users")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        running.apply(ROUTE)
        yield running


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Callable[..., None]]:
    """Apply policies; they are deleted after the test."""
    with applying(mesh, "JWTAuthentication", policy) as apply:
        yield apply


def bearer(value: str) -> dict[str, str]:
    return {"authorization": f"Bearer {value}"}


def valid(algorithm: str = "ES256", **changes: Any) -> str:
    return token(ALGORITHMS[algorithm], algorithm, claims(**changes), algorithm.lower())


def raw_status(mesh: Mesh, headers: list[tuple[str, str]], path: str = "/echo") -> int:
    """The status of a request whose headers are sent as they are, repeated ones too."""
    connection = http.client.HTTPConnection("127.0.0.1", mesh.ingress_port, timeout=30)
    connection.putrequest("GET", path)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    status = connection.getresponse().status
    connection.close()
    return status


def attacks() -> dict[str, str]:
    """Tokens that must not be accepted, by the cause that Envoy states."""
    stranger = keys.key("ES256", "stranger")
    embedded = keys.jwk(stranger, "ES256", "es256")
    url = "http://127.0.0.1:1/keys"
    now = int(time.time())
    return {
        "Jwt is expired": token(EC, "ES256", claims(exp=now - 120), "es256"),
        "Jwt not yet valid": token(EC, "ES256", claims(nbf=now + 120), "es256"),
        "Audiences in Jwt are not allowed": token(EC, "ES256", claims(aud="other"), "es256"),
        "Audiences in Jwt are not allowed (none)": token(EC, "ES256", claims(aud=None), "es256"),
        "Jwt issuer is not configured": token(EC, "ES256", claims(iss="https://evil.test"), "es256"),
        "Jwt verification fails": token(stranger, "ES256", claims(), "es256"),
        "Jwt verification fails (jwk)": token(stranger, "ES256", claims(), "es256", jwk=embedded),
        "Jwt verification fails (jku)": token(stranger, "ES256", claims(), "es256", jku=url, x5u=url),
        "Jwks doesn't have key (kid)": token(EC, "ES256", claims(), "unknown"),
        "Jwks doesn't have key (kid of another key)": token(EC, "ES256", claims(), "rs256"),
        "Jwks doesn't have key (path as kid)": token(stranger, "ES256", claims(), "../../dev/null"),
        "(alg none)": keys.unsigned(claims()),
        "(alg nOnE)": keys.unsigned(claims(), "nOnE"),
        "(HS256 with the public key)": keys.signed_with_public_key(RSA, claims(), "rs256"),
        "(not JSON)": token(EC, "ES256", b"It is a dangerous business", "es256"),
        "(two parts)": ".".join(valid().split(".")[:2]),
        "(changed)": valid().replace(".", ".e", 1),
        "(no exp)": token(EC, "ES256", claims(exp=None), "es256"),
        "(huge)": token(EC, "ES256", claims(more="x" * 40_000), "rs256"),
        "(empty)": "",
    }


def test_valid_tokens_pass_and_every_attack_is_refused_with_reason_and_policy(
    mesh: Mesh, applied: Any
) -> None:
    applied("users", GATEWAY)
    for algorithm in ALGORITHMS:
        assert mesh.outside("/echo", headers=bearer(valid(algorithm))).status_code == 200, algorithm
    missing = mesh.outside("/echo")
    assert missing.status_code == 401
    assert missing.text.startswith('mesh: Jwt is missing: refused by ["JWTAuthentication/users"] (jwt_authn')
    assert missing.headers["www-authenticate"].startswith("Bearer realm=")
    mesh.reset("back-1")
    for cause, text in attacks().items():
        response = mesh.outside("/echo", headers=bearer(text))
        assert response.status_code == 401, (cause, response.text)
        assert cause.partition(" (")[0].strip("(") in response.text or cause.startswith("("), response.text
    assert raw_status(mesh, [("Authorization", f"Bearer {valid()}")]) == 200
    forged = token(keys.key("ES256", "stranger"), "ES256", claims(), "es256")
    for several in ((valid(), forged), (forged, valid()), (valid(), valid(sub="mallory"))):
        assert raw_status(mesh, [("Authorization", f"Bearer {text}") for text in several]) == 401
    assert mesh.counts("back-1") == {"GET /echo": 1}
    assert mesh.get("front-1", "http://back/echo").status_code == 200, "only the gateway asks for tokens"


def test_why_names_the_policy_and_the_cause(mesh: Mesh, applied: Any) -> None:
    applied("users", GATEWAY)
    request_id = mesh.outside("/echo").headers["x-request-id"]

    def explained() -> str:
        done = mesh.run("why", request_id, check=False)
        return done.stdout if "JWTAuthentication" in done.stdout else ""

    text = until(explained, "mesh why names the policy", 60)
    assert "the request has no token" in text


def test_refusals_are_events_and_metrics_with_policy_caller_and_count(mesh: Mesh, applied: Any) -> None:
    applied("clients", GATEWAY)
    applied("internal", SERVICE)
    for _ in range(5):
        assert mesh.outside("/echo").status_code == 401
        assert mesh.get("front-1", "http://back/echo").status_code == 401

    def counted() -> bool:
        values = metrics(mesh)
        expected = [("clients", "ingress", "outside"), ("internal", "back", "front")]
        return all(values.get(refused(*labels), 0) >= 5 for labels in expected)

    def refused(policy: str, service: str, caller: str) -> str:
        labels = {"caller": caller, "policy": f"JWTAuthentication/{policy}", "service": service}
        return f"mesh_requests_refused_total{json.dumps(labels)}"

    until(counted, "the refusals are counted by policy, service and caller")
    event = until(lambda: find_event(mesh, "refusal", "front → back", "internal"), "an event")
    assert "JWTAuthentication/internal refused" in event["message"]
    assert "the request has no token" in event["message"]
    request = event["message"].partition("mesh why ")[2]
    assert "JWTAuthentication internal" in mesh.run("why", request).stdout
    assert until(lambda: find_event(mesh, "refusal", "ingress", "clients"), "an event of the gateway")


def test_claims_become_headers_and_forged_ones_are_removed_everywhere(mesh: Mesh, applied: Any) -> None:
    applied(
        "users",
        GATEWAY,
        claimHeaders=[
            {"claim": "sub", "header": "X-User-Id"},
            {"claim": "realm.role", "header": "x-role"},
            {"claim": "missing", "header": "x-missing"},
        ],
        exceptions=[{"path": "/public", "type": "PathPrefix"}, {"path": "/echo", "methods": ["OPTIONS"]}],
    )
    forged = {"x-user-ID": "root", "X-ROLE": "admin", "x-missing": "1", "x-other": "kept"}

    def received(path: str, method: str = "GET", **headers: str) -> dict[str, str]:
        response = mesh.outside(path, method, headers={**forged, **headers})
        assert response.status_code == 200, response.text
        sent: dict[str, str] = response.json()["headers"]
        return {name: sent[name] for name in sent if name in ("x-user-id", "x-role", "x-missing", "x-other")}

    text = valid(realm={"role": "customer"})
    assert received("/echo", **bearer(text)) == {
        "x-user-id": "alice",
        "x-role": "customer",
        "x-other": "kept",
    }
    assert received("/public/a?b=c") == {"x-other": "kept"}
    assert received("/public") == {"x-other": "kept"}
    assert received("/echo", "OPTIONS") == {"x-other": "kept"}
    repeated = [("x-user-id", "a"), ("X-User-Id", "b"), ("Authorization", f"Bearer {text}")]
    assert raw_status(mesh, repeated) == 200
    for path in ("/publicity", "/public/../echo", "/public/%2e%2e/echo", "/public/..;/echo", "/echo?/public"):
        assert raw_status(mesh, [], path) in (400, 401), path


def test_service_target_protects_from_every_caller_and_keeps_connections(mesh: Mesh, applied: Any) -> None:
    session = mesh.caller("front-1")
    stream = session.get("http://back/stream?seconds=600&every=0.2", stream=True, timeout=30)
    lines = stream.iter_lines()
    assert next(lines) == b"0"
    applied("inside", SERVICE, exceptions=[{"path": "/public/", "type": "PathPrefix"}])
    assert mesh.get("front-1", "http://back/echo").status_code == 401
    assert mesh.outside("/echo").status_code == 401
    assert mesh.outside("/echo", headers=bearer(valid())).status_code == 200
    assert mesh.get("front-1", "http://back/echo", headers=bearer(valid())).status_code == 200
    assert mesh.get("front-1", "http://back/public/a").status_code == 200
    # Sidecars do not normalise paths: what an app might read as another path needs a token.
    for path in ("/public/%2e%2e/echo", "/public/..%2fecho", "/public//echo", "/public/a;b"):
        request = requests.Request("GET", "http://back/").prepare()
        request.url = f"http://back{path}"
        assert session.send(request, proxies=session.proxies, timeout=30).status_code == 401, path
    assert mesh.get("front-1", "http://users/echo").status_code == 200
    for _ in range(3):
        assert next(lines), "the stream that began before goes on"
    stream.close()


def test_routes_and_rules_have_policies_of_their_own_that_add_up(mesh: Mesh, applied: Any) -> None:
    other = keys.key("ES256", "partner")
    partner = issuer(
        keys.key_set(keys.jwk(other, "ES256", "p")), PARTNER, token={"header": "x-partner-token"}
    )
    applied("admin", "{kind: HTTPRoute, name: shop, sectionName: admin}", partner)
    applied("everywhere", "{kind: Gateway, name: ingress, sectionName: http}")
    theirs = {"x-partner-token": token(other, "ES256", claims(iss=PARTNER), "p")}
    assert mesh.outside("/echo", headers=bearer(valid())).status_code == 200
    for headers in ({}, theirs, bearer(valid())):
        response = mesh.outside("/admin/x", headers=headers)
        assert response.status_code == 401
        assert '["JWTAuthentication/admin","JWTAuthentication/everywhere"]' in response.text
    assert mesh.outside("/admin/x", headers={**theirs, **bearer(valid())}).status_code == 200


def test_any_and_optional_refuse_an_invalid_token_in_any_place(mesh: Mesh, applied: Any) -> None:
    other = keys.key("ES256", "partner")
    partner = issuer(keys.key_set(keys.jwk(other, "ES256", "p")), PARTNER, token={"query": "token"})
    theirs = token(other, "ES256", claims(iss=PARTNER), "p")
    applied("users", GATEWAY, issuer(), partner)

    def status(query: str = "", header: str = "") -> int:
        headers = bearer(header) if header else {}
        return mesh.outside(f"/echo{query}", headers=headers).status_code

    assert [status(), status("?token=x"), status("", valid()), status(f"?a=b&token={theirs}")] == [
        401, 401, 200, 200,
    ]  # fmt: skip
    assert status(f"?token={theirs}", valid()) == 200
    assert status("?token=forged", valid()) == 401
    assert status(f"?token={theirs}", "forged") == 401
    for query in (f"?token={theirs}&token=forged", f"?token={theirs}&%74oken=forged&a"):
        refused = mesh.outside(f"/echo{query}")
        assert (refused.status_code, "several tokens" in refused.text) == (400, True)
    applied("users", GATEWAY, issuer(token={"cookie": "session"}), require="none-but-verify")
    cookie = f"session={valid()}"
    for value, expected in (
        ("a=b", 200),
        (cookie, 200),
        ("session=x", 401),
        (f"{cookie}; session=x", 400),
        (f"{cookie}; a=\xff; session=x", 400),
    ):
        assert raw_status(mesh, [("Cookie", value)]) == expected, value


def put_keys(mesh: Mesh, *members: dict[str, Any]) -> None:
    requests.put(f"{mesh.app('users-1')}/keys", data=keys.key_set(*members), timeout=10).raise_for_status()


def test_keys_of_a_service_rotate_and_outlive_its_absence(mesh: Mesh, applied: Any) -> None:
    old, new = keys.key("ES256", "old"), keys.key("ES256", "new")
    first, second = keys.jwk(old, "ES256", "old"), keys.jwk(new, "ES256", "new")
    old_token, new_token = (
        bearer(token(key, "ES256", claims(), kid)) for key, kid in ((old, "old"), (new, "new"))
    )

    def status(headers: dict[str, str]) -> int:
        return mesh.outside("/echo", headers=headers).status_code

    def accepted(headers: dict[str, str]) -> None:
        assert status(headers) == 200

    applied("users", GATEWAY, issuer("http://users/keys"))
    assert status(old_token) == 401, "there are no keys yet"
    put_keys(mesh, first)
    until(lambda: status(old_token) == 200, "the keys are fetched", 60)
    with repeated("old tokens", lambda: accepted(old_token)):
        put_keys(mesh, first, second)
        await_fetches(mesh)
    with repeated("new tokens", lambda: accepted(new_token)):
        accepted(old_token)
        put_keys(mesh, second)
        await_fetches(mesh)
        until(lambda: status(old_token) == 401, "the old key is gone", 60)
        requests.put(f"{mesh.app('users-1')}/keys", data=b"", timeout=10).raise_for_status()
        await_fetches(mesh)


def await_fetches(mesh: Mesh) -> None:
    """Wait until every worker of the gateway has seen what is at the keys' address now."""
    mesh.reset("users-1")
    # A request fetches for its own worker, of which there is one for each core; the next fetch is for all.
    fetches = 2 + (os.cpu_count() or 1)
    until(lambda: mesh.counts("users-1").get("GET /keys", 0) > fetches, "the keys are fetched", 60)


def test_keys_of_the_standards_verify_fresh_claims_and_refuse_their_own_tokens(
    mesh: Mesh, applied: Any
) -> None:
    standard = jwt_rfc.keys()
    jwks = keys.key_set(*(keys.jwk(key, algorithm, kid) for kid, (algorithm, key) in standard.items()))
    applied("standard", GATEWAY, {**issuer(jwks, jwt_rfc.ISSUER), "audiences": []})
    for kid, (algorithm, key) in standard.items():
        fresh = token(key, algorithm, claims(iss=jwt_rfc.ISSUER), kid)
        assert mesh.outside("/echo", headers=bearer(fresh)).status_code == 200, kid
    originals = {**jwt_rfc.TOKENS}
    algorithm, key = standard["rfc7520-3.4"]
    originals["RFC 7520 4 (text)"] = token(key, algorithm, jwt_rfc.RFC7520_PAYLOAD, "rfc7520-3.4")
    reasons = {}
    for name, original in originals.items():
        response = mesh.outside("/echo", headers=bearer(original))
        assert response.status_code == 401, name
        reasons[name] = response.text.partition(": refused by")[0].removeprefix("mesh: ")
    malformed = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
    assert reasons == {
        "RFC 7515 A.2 (RS256)": "Jwt is expired",
        "RFC 7515 A.3 (ES256)": "Jwt is expired",
        "RFC 7515 A.5 (none)": malformed,
        "RFC 7520 4 (text)": "Jwt payload is an invalid JSON",
    }
