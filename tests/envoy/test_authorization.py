"""Authorization under traffic: sidecars and gateways let through what rules say, and nothing else."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.envoy.authorization_tricks import BANS, GET, HOST_TRICKS, HTTP2_TRICKS, NO_ADMIN, TRICKS
from tests.envoy.envoy_admin import stats
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import find_event, metrics
from tests.envoy.mesh_policies import applying, policy_document
from tests.envoy.mesh_topology import edges
from tests.envoy.raw_http import exchange
from tests.envoy.raw_http2 import REFUSED as HTTP2_REFUSED
from tests.envoy.raw_http2 import status as http2_status
from tests.envoy.test_why import lines as tapped
from tests.envoy.test_why import tapping
from tests.fakes import jwt_keys

BACK = "{kind: Service, name: back}"
GATEWAY = "{kind: Gateway, name: ingress}"
ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules:
  - backendRefs: [{name: back}]
"""
HEALTH_CHECK = """
apiVersion: meshwright.io/v1
kind: HealthCheck
metadata: {name: back}
spec:
  targetRefs: [{kind: Service, name: back}]
  http: {path: /health/ready}
  interval: 200ms
  timeout: 5s
"""
FRONT = {"from": [{"services": ["front"]}]}


def policy(name: str, target: str, *rules: dict[str, Any], **spec: Any) -> str:
    return policy_document("Authorization", name, target, rules=rules, **spec)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("back"), service("stranger")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        running.apply(ROUTE)
        yield running


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Callable[..., None]]:
    """Apply policies; they are deleted after the test."""
    with applying(mesh, "Authorization", policy) as apply:
        yield apply


def status(
    mesh: Mesh, caller: str, url: str = "http://back/echo", method: str = "GET", **options: Any
) -> int:
    return mesh.get(f"{caller}-1", url, method, **options).status_code


def test_only_allowed_callers_get_through_and_a_denial_names_its_policy(mesh: Mesh, applied: Any) -> None:
    session = mesh.caller("stranger-1")
    stream = session.get("http://back/stream?seconds=600&every=0.2", stream=True, timeout=30)
    lines = stream.iter_lines()
    assert next(lines) == b"0"
    applied("callers", BACK, FRONT, {"name": "edge", "from": [{"gateways": ["ingress"]}]}, NO_ADMIN)
    assert status(mesh, "front") == 200
    assert mesh.outside("/echo").status_code == 200, "the gateway is allowed"
    assert status(mesh, "stranger", "http://front/echo") == 200, "other services have no rules"
    with tapping(mesh, "back", "--path", "/echo") as tap:
        refused = mesh.get("stranger-1", "http://back/echo")
        assert refused.status_code == 403
        assert refused.text.startswith("RBAC: access denied")
        (line,) = tapped(tap, 1)
        assert line.endswith("refused by Authorization/callers\n"), line
    denied = mesh.get("front-1", "http://back/admin/x")
    assert denied.status_code == 403
    assert "Authorization/callers/no-admin" in denied.text
    for _ in range(3):
        assert next(lines), "the stream that began before goes on"
    stream.close()

    def why(response: Any) -> str:
        done = mesh.run("why", response.headers["x-request-id"], check=False)
        return done.stdout if "Authorization callers" in done.stdout else ""

    assert "no allow rule matches" in until(lambda: why(refused), "mesh why names the policy")
    assert "a deny rule matches" in until(lambda: why(denied), "mesh why names the policy")
    event = until(lambda: find_event(mesh, "refusal", "stranger → back", "callers"), "an event")
    assert "Authorization/callers refused" in event["message"]
    labels = json.dumps({"caller": "stranger", "policy": "Authorization/callers", "service": "back"})
    assert metrics(mesh)[f"mesh_requests_refused_total{labels}"] >= 1


def test_deny_by_default_keeps_health_checks_metrics_and_readiness(mesh: Mesh, applied: Any) -> None:
    applied("nobody", "{kind: Mesh}", default="deny")
    for caller in ("front", "stranger"):
        assert status(mesh, caller) == 403
    assert mesh.outside("/echo").status_code == 403
    services = {entry["name"]: entry for entry in mesh.status()["services"]}
    assert all(entry["healthy"] == entry["instances"] for entry in services.values())
    mesh.apply(policy("some", BACK, {"from": [{"services": ["front"]}], "to": [{"methods": ["GET"]}]}))
    try:
        assert status(mesh, "front") == 200
        assert status(mesh, "front", method="POST") == 403
        assert status(mesh, "stranger") == 403
    finally:
        mesh.delete("Authorization", "some")


def assert_probed(mesh: Mesh, *arguments: str, allowed: bool) -> None:
    """The control plane and the called sidecar give this verdict, and the app gets no request."""
    counted = mesh.counts("back-1"), mesh.counts("front-1")
    done = mesh.run("authz", "check", "--probe", "-o", "json", *arguments, check=False)
    probe = json.loads(done.stdout)
    (sidecar,) = probe["verdicts"]
    assert sidecar["verdict"] == ("allowed" if allowed else "denied"), (done.stdout, done.stderr)
    assert probe["check"]["allowed"] == allowed
    assert done.returncode == int(not allowed)
    assert (mesh.counts("back-1"), mesh.counts("front-1")) == counted


def test_the_commands_say_what_the_sidecars_do(mesh: Mesh, applied: Any) -> None:
    applied("callers", BACK, {"name": "front", **FRONT}, NO_ADMIN)
    for caller in ("front", "stranger"):
        for path, allowed in (("/echo", caller == "front"), ("/admin", False)):
            assert_probed(mesh, "--from", caller, "--to", "back", "GET", path, allowed=allowed)
            assert status(mesh, caller, f"http://back{path}") == (200 if allowed else 403)
    assert_probed(mesh, "--from", "ingress", "--to", "back", "POST", "/echo", allowed=False)
    assert_probed(mesh, "--from", "stranger", "--to", "front", "DELETE", "/hold?x", allowed=True)
    rows = {
        cells[0]: cells[1:]
        for cells in map(str.split, mesh.run("authz", "matrix", "back", "front").stdout.splitlines())
    }
    assert rows == {
        "FROM": ["back", "front"],
        "outside": ["→", "ingress", "×"],
        "ingress": ["×", "●"],
        "back": ["×", "●"],
        "front": ["▲", "●"],
        "stranger": ["×", "●"],
    }


SEEN = (
    ("front", "GET", "/orders/17", "text/plain"),
    ("front", "GET", "/orders/6ba7b810-9dad-11d1-80b4-00c04fd430c8", "text/plain"),
    ("front", "POST", "/orders", "text/plain"),
    ("back", "POST", "/shop.v1.Orders/Cancel", "application/grpc"),
    ("ingress", "GET", "/health/ready", "text/plain"),
)
UNSEEN = (
    ("front", "DELETE", "/orders/17", "text/plain"),
    ("front", "GET", "/orders", "text/plain"),
    ("front", "POST", "/shop.v1.Orders/Cancel", "application/grpc"),
    ("back", "POST", "/shop.v1.Orders/CancelAll", "application/grpc"),
    ("back", "GET", "/orders/17", "text/plain"),
    ("ingress", "GET", "/orders/17", "text/plain"),
)
TO_STRANGER = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: stranger}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  hostnames: [stranger.example.com]
  rules:
  - backendRefs: [{name: stranger}]
"""


def test_what_is_suggested_lets_the_same_calls_through_and_no_others(mesh: Mesh, applied: Any) -> None:
    def allowed(caller: str, method: str, path: str, content_type: str) -> bool:
        """Whether a traced call to stranger gets through; the proxies record each of them."""
        trace = f"00-{uuid4().hex}-{uuid4().hex[:16]}-01"
        headers = {"traceparent": trace, "content-type": content_type}
        if caller == "ingress":
            response = mesh.outside(path, method, headers={**headers, "host": "stranger.example.com"})
        else:
            response = mesh.get(f"{caller}-1", f"http://stranger{path}", method, headers=headers)
        return "RBAC: access denied" not in response.text + response.headers.get("grpc-message", "")

    assert_probed(mesh, "--from", "back", "--to", "front", "GET", "/x", allowed=True)
    mesh.apply(TO_STRANGER)
    try:
        until(lambda: all(allowed(*call) for call in SEEN), "the calls get through")
        until(lambda: ("back", "front") in edges(mesh), "the probe is counted")

        def suggested() -> str:
            text = mesh.run("authz", "suggest", check=False).stdout
            entries = ("/orders/{id}", '"/orders"', '"shop.v1.Orders"', '"/health/ready"')
            return text if all(entry in text for entry in entries) else ""

        text = until(suggested, "the calls that were seen are suggested")
        to_front = text.partition("name: front-callers")[2].partition("---")[0]
        assert "services: [back]" not in to_front, "a probe is no call"
        documents = [document for document in text.split("---\n") if "name: stranger-callers" in document]
        changed = mesh.run("diff", "-f", "-", stdin=documents[0], check=False)
        assert changed.returncode == 1, changed.stderr
        applied("nobody", "{kind: Mesh}", default="deny")
        assert not allowed(*SEEN[0])
        mesh.apply(documents[0])
        assert {call: allowed(*call) for call in SEEN} == dict.fromkeys(SEEN, True), text
        assert {call: allowed(*call) for call in UNSEEN} == dict.fromkeys(UNSEEN, False), text
    finally:
        mesh.run("delete", "authorization", "stranger-callers", check=False)
        mesh.delete("HTTPRoute", "stranger")


def test_probes_of_a_health_check_go_on_whatever_is_refused(mesh: Mesh, applied: Any) -> None:
    def probes() -> dict[str, int]:
        prefix = "cluster.back.health_check."
        return {key.removeprefix(prefix): value for key, value in stats(mesh, "front-1", prefix).items()}

    mesh.apply(HEALTH_CHECK)
    try:
        applied("posts", BACK, {**FRONT, "to": [{"methods": ["POST"]}]})
        assert status(mesh, "front", method="POST") == 200
        before = probes()["success"]
        until(lambda: probes()["success"] > before + 5, "probes succeed")
        assert probes()["failure"] == 0
        assert status(mesh, "front", "http://back/health/ready") == 403
        assert (
            stats(mesh, "front-1", "cluster.back.membership_healthy")["cluster.back.membership_healthy"] == 1
        )
    finally:
        mesh.delete("HealthCheck", "back")


def test_rules_on_trial_refuse_nothing_and_are_counted(mesh: Mesh, applied: Any) -> None:
    applied("trial", BACK, {**FRONT, "name": "front"}, NO_ADMIN, enforcement="audit")
    before = stats(mesh, "back-1", "rbac")
    assert status(mesh, "front", "http://back/admin") == 200
    assert status(mesh, "stranger") == 200
    prefix = "http.inbound.rbac."
    added = {
        key.removeprefix(prefix): value - before.get(key, 0)
        for key, value in stats(mesh, "back-1", "rbac").items()
    }
    assert added["policy.Authorization/trial/no-admin.shadow_denied"] == 1
    assert added["shadow_denied"] == 2, "one request matched no allow rule"
    assert added["denied"] == 0


NORMALISED_PATHS = {
    "/x/..//%68ealth/./ready": 200,
    "/health\\ready": 200,
    "/health/../echo": 403,
    "/health%2fready": 400,
}


def test_gateway_decides_by_claims_of_a_verified_token_and_by_address(mesh: Mesh, applied: Any) -> None:
    key = jwt_keys.key("ES256")
    jwks = {"inline": jwt_keys.key_set(jwt_keys.jwk(key, "ES256", "k"))}
    issuers = [{"issuer": jwt_keys.ISSUER, "audiences": [jwt_keys.AUDIENCE], "jwks": jwks}]
    users = policy("users", GATEWAY, issuers=issuers, require="none-but-verify")
    mesh.apply(users.replace("kind: Authorization", "kind: JWTAuthentication").replace('"rules": [], ', ""))
    admins = {"from": [{"claims": [{"name": "realm.roles", "values": ["admin"]}]}]}
    health = {"from": [{"addresses": ["127.0.0.0/8"]}], "to": [{"paths": [{"value": "/health"}]}]}
    try:
        applied("admins", GATEWAY, admins, health)

        def outside(path: str, **claims: Any) -> int:
            token = jwt_keys.token(key, "ES256", jwt_keys.claims(**claims), "k")
            headers = {"authorization": f"Bearer {token}"} if claims else {}
            return mesh.outside(path, headers=headers).status_code

        assert outside("/echo", realm={"roles": ["user", "admin"]}) == 200
        assert outside("/echo", realm={"roles": ["user"]}) == 403
        assert outside("/echo", roles="admin") == 403
        assert outside("/echo") == 403
        assert outside("/health/ready") == 200
        for arguments, allowed in (
            (("--claim", "realm.roles=admin", "GET", "/echo"), 1),
            (("GET", "/echo"), 0),
        ):
            done = mesh.run("authz", "check", "--gateway", "ingress", *arguments, check=False)
            assert done.returncode == 1 - allowed, done.stdout + done.stderr
            assert "route HTTPRoute/shop" in done.stdout
        for path, expected in NORMALISED_PATHS.items():
            request = f"GET {path} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n"
            done = mesh.run("authz", "check", "--gateway", "ingress", "GET", path, check=False)
            answered = exchange(mesh.ingress_port, request).status
            assert (answered, done.returncode) == (expected, int(expected != 200)), (path, done.stdout)
        assert status(mesh, "stranger") == 200, "sidecars do not enforce a gateway's policy"
    finally:
        mesh.delete("JWTAuthentication", "users")


@pytest.mark.parametrize("target", [BACK, GATEWAY])
def test_no_trick_gets_past_a_rule(mesh: Mesh, applied: Any, target: str) -> None:
    applied("bans", target, *BANS)
    port = mesh.ingress_port if target == GATEWAY else mesh.ports("front-1")["outbound"]
    mesh.reset("back-1")

    def sent(line: str, host: str = "back") -> int:
        with socket.create_connection(("127.0.0.1", port), 60) as client:
            client.sendall(f"{line}\r\nHost: {host}\r\n\r\n".encode("latin-1"))
            return int(client.makefile("rb").readline().split()[1])

    assert sent("GET /x HTTP/1.1\r\nx-role: user") == 200
    assert sent("POST /x HTTP/1.1\r\ncontent-length: 0") == 200
    for trick, line in TRICKS.items():
        assert sent(line) in (400, 403, 404, 405, 501), trick
    assert http2_status(port, [*{**GET, ":path": "/x"}.items()]) == 200
    for trick, headers in HTTP2_TRICKS.items():
        assert http2_status(port, headers) in (HTTP2_REFUSED, 400, 403, 404, 405, 501), f"HTTP/2: {trick}"
    if target == GATEWAY:
        assert sent("CONNECT back:80 HTTP/1.1") == 404
        for name in HOST_TRICKS:
            assert sent("GET /x HTTP/1.1", name) == 403, name
            assert sent(f"GET http://{name}/x HTTP/1.1", "other") == 403, name
            assert http2_status(port, [*{**GET, ":path": "/x", ":authority": name}.items()]) == 403, name
    else:
        request = "GET /admin HTTP/1.1\r\nHost: back\r\nConnection: close\r\n\r\n"
        tunnel = exchange(port, "CONNECT back:80 HTTP/1.1\r\nHost: back:80\r\n\r\n", request)
        assert tunnel.text.endswith("Authorization/bans/no-admin])"), "the call in the tunnel is refused"
    assert sum(mesh.counts("back-1").values()) == 3, mesh.counts("back-1")
