"""RateLimit under traffic: exact buckets, keys that cannot be evaded, and responses to refused clients."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from meshwright.control_plane.policies.ratelimit import descriptors
from meshwright.control_plane.policies.ratelimit.route_metadata import AUDIT_HEADER
from tests.envoy.harness import Mesh, running_mesh, service, until
from tests.envoy.mesh_api import find_event
from tests.envoy.mesh_api import refused as refused_by
from tests.envoy.mesh_policies import applying, policy_document
from tests.fakes import jwt_keys as keys

OTHER = "{kind: Service, name: other}"
GATEWAY = "{kind: Gateway, name: ingress}"
BACK = "{kind: Service, name: back}"
HOUR = "1h"
"""A period in which a test gets no more tokens than the bucket had at first."""

ROUTE = """
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop}
spec:
  parentRefs: [{kind: Gateway, name: ingress}]
  rules:
  - name: login
    matches: [{path: {value: /login}}]
    backendRefs: [{name: back}]
  - backendRefs: [{name: back}]
"""


def limit(requests: int, *by: dict[str, str], per: str = HOUR, **more: Any) -> dict[str, Any]:
    return {"requests": requests, "per": per, "by": list(by), **more}


def policy(name: str, target: str, *limits: dict[str, Any], **spec: Any) -> str:
    return policy_document("RateLimit", name, target, limits=limits, **spec)


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    services = [service("front"), service("other", replicas=2), service("back")]
    with running_mesh(tmp_path_factory.mktemp("mesh"), services) as running:
        running.apply(ROUTE)
        yield running


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Callable[..., None]]:
    """Apply policies; they are deleted after the test."""
    with applying(mesh, "RateLimit", policy) as apply:
        yield apply


def test_a_gateway_has_one_bucket_for_all_its_routes_and_says_when_to_try_again(
    mesh: Mesh, applied: Callable[..., None]
) -> None:
    applied("edge", GATEWAY, limit(10))
    answers = [mesh.outside(path) for path in ("/echo", "/login", "/echo?a", "/x") * 5]
    assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 10
    assert [answer.headers["x-ratelimit-remaining"] for answer in answers[:10]] == [
        str(left) for left in range(9, -1, -1)
    ]
    refused = answers[-1]
    assert refused.text.startswith("mesh: too many requests: refused by RateLimit/edge (local_rate_limited)")
    assert refused.headers["retry-after"] == "360"
    assert refused.headers["x-ratelimit-limit"].startswith("10")
    assert "retry-after" not in answers[0].headers
    assert mesh.get("front-1", "http://back/echo").status_code == 200, "only the gateway limits"

    def explained() -> str:
        done = mesh.run("why", refused.headers["x-request-id"], check=False)
        return done.stdout if "RateLimit edge" in done.stdout else ""

    text = until(explained, "mesh why names the policy", 60)
    assert "429 at ingress → back: RateLimit edge" in text
    assert "there are more requests than a limit lets through" in text

    def listed() -> bool:
        mesh.outside("/echo")  # again: a busy machine may lose a batch of records
        return refused_by(mesh, "RateLimit/edge") == {("outside", "limited")}

    until(listed, "the refusals are listed")
    event = until(lambda: find_event(mesh, "refusal", "outside → ingress", "RateLimit/edge"), "an event")
    assert "RateLimit/edge refused" in event["message"]


def test_a_service_limits_each_caller_apart(mesh: Mesh, applied: Callable[..., None]) -> None:
    applied("callers", BACK, limit(5, {"type": "Caller"}), limit(100))
    for caller in ("front-1", "other-1"):
        # The address is what a caller writes; its identity is what its certificate says.
        session = mesh.caller(caller)
        headers = {"x-forwarded-client-cert": "URI=spiffe://mesh.local/service/forged"}
        answers = [session.get("http://back/echo", headers=headers, timeout=30) for _ in range(12)]
        assert [answer.status_code for answer in answers] == [200] * 5 + [429] * 7, caller
    assert mesh.get("front-1", "http://other/echo").status_code == 200

    def listed() -> bool:
        for caller in ("front-1", "other-1"):
            mesh.get(caller, "http://back/echo")
        return refused_by(mesh, "RateLimit/callers") == {("front", "limited"), ("other", "limited")}

    until(listed, "the refusals are listed by caller")


def test_keys_count_apart_and_requests_without_one_share_a_limit(
    mesh: Mesh, applied: Callable[..., None]
) -> None:
    applied("keys", BACK, limit(3, {"type": "Header", "name": "X-Key"}, {"type": "Path"}))

    def allowed(path: str, **headers: str) -> int:
        return sum(
            mesh.get("front-1", f"http://back{path}", headers=headers).status_code == 200 for _ in range(5)
        )

    assert allowed("/echo", **{"x-key": "a"}) == 3
    assert allowed("/echo?other=query", **{"x-key": "a"}) == 0, "the query is no part of the path"
    assert allowed("/echo", **{"x-key": "b"}) == 3
    assert allowed("/echo/more", **{"x-key": "a"}) == 3
    assert allowed("/echo") == 3
    assert allowed("/echo", **{"x-key": ""}) == 0, "an empty key is none"
    long = "c" * descriptors.MAX_VALUE
    assert allowed("/echo", **{"x-key": f"{long}1"}) + allowed("/echo", **{"x-key": f"{long}2"}) == 3


def test_clients_are_told_apart_by_address_only_as_trusted_proxies_say(
    mesh: Mesh, applied: Callable[..., None]
) -> None:
    applied("clients", GATEWAY, limit(4, {"type": "ClientAddress"}))
    forged = [{"x-forwarded-for": f"198.51.100.{number}"} for number in range(10)]
    answers = Counter(mesh.outside("/echo", headers=headers).status_code for headers in forged)
    assert answers == {200: 4, 429: 6}, "a client cannot give itself another address"
    gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: ingress}\n"
    spec = "spec: {gatewayClassName: meshwright, listeners: [{name: http, port: 8080, protocol: HTTP}]"
    try:
        # A hop on this host, as a number or by its address, says who its clients are.
        for block, trusted in ((100, "1"), (113, "[127.0.0.0/8]")):
            mesh.apply(f"{gateway}{spec}, trustedProxies: {trusted}}}\n")
            forged = [{"x-forwarded-for": f"198.51.{block}.{number}"} for number in range(10)]
            answers = Counter(mesh.outside("/echo", headers=headers).status_code for headers in forged)
            assert answers == {200: 10}, trusted
            # What a client itself writes stands before the address that the hop adds.
            same = [{"x-forwarded-for": f"192.0.2.{number}, 203.0.{block}.9"} for number in range(10)]
            answers = Counter(mesh.outside("/echo", headers=headers).status_code for headers in same)
            assert answers == {200: 4, 429: 6}, trusted
    finally:
        mesh.delete("Gateway", "ingress")


def test_a_users_claim_is_the_key_across_addresses_and_tokens(
    mesh: Mesh, applied: Callable[..., None]
) -> None:
    key = keys.key("ES256")
    jwks = {"inline": keys.key_set(keys.jwk(key, "ES256", "k"))}
    issuers = json.dumps([{"issuer": keys.ISSUER, "audiences": [keys.AUDIENCE], "jwks": jwks}])
    head = "apiVersion: meshwright.io/v1\nkind: JWTAuthentication\nmetadata: {name: users}\n"
    mesh.apply(f"{head}spec: {{targetRefs: [{GATEWAY}], issuers: {issuers}}}\n")
    applied("users", GATEWAY, limit(3, {"type": "Claim", "name": "sub"}))

    def outcomes(user: str) -> Counter[int]:
        texts = (keys.token(key, "ES256", keys.claims(sub=user, jti=str(n)), "k") for n in range(5))
        headers = ({"authorization": f"Bearer {text}"} for text in texts)
        return Counter(mesh.outside("/echo", headers=header).status_code for header in headers)

    assert outcomes("alice") == {200: 3, 429: 2}
    assert outcomes("bob") == {200: 3, 429: 2}
    assert mesh.outside("/echo").status_code == 401
    mesh.delete("JWTAuthentication", "users")


def test_audit_counts_by_policy_and_refuses_nothing(mesh: Mesh, applied: Callable[..., None]) -> None:
    applied("tried", BACK, limit(2), enforcement="audit")
    applied("strict", BACK, limit(6))
    answers = [mesh.get("front-1", "http://back/echo") for _ in range(10)]
    assert [answer.status_code for answer in answers] == [200] * 6 + [429] * 4
    assert "refused by RateLimit/strict (" in answers[-1].text
    marked = [answer.json()["headers"].get(AUDIT_HEADER) for answer in answers[:6]]
    assert marked == [None] * 2 + ["RateLimit/tried"] * 4

    def counted() -> bool:
        text = mesh.run("proxy", "back-1", "stats", "--filter", "rate_limited").stdout
        values = dict(line.rsplit(maxsplit=1) for line in text.splitlines() if line.startswith("mesh."))
        totals = {
            name: sum(int(value) for stat, value in values.items() if f"/{name}." in stat)
            for name in ("tried", "strict")
        }
        return totals == {"tried": 4, "strict": 4}

    until(counted, "both policies are counted")


def test_rates_refill_as_the_bucket_says(mesh: Mesh, applied: Callable[..., None]) -> None:
    applied("rate", BACK, limit(40, per="1s", burst=10))
    session = mesh.caller("front-1")
    session.get("http://other/echo", timeout=30)
    begun = time.monotonic()
    passed = 0
    while (lasted := time.monotonic() - begun) < 2:
        passed += session.get("http://back/echo", timeout=30).status_code == 200
    # A paused process may leave the bucket full for a while, and gets nothing for that time.
    assert passed <= 10 + 40 * (lasted + 0.5)
    assert passed > 10, "the bucket fills while requests are refused"


def test_a_global_limit_counts_for_all_instances_together(mesh: Mesh, applied: Callable[..., None]) -> None:
    by = {"type": "Header", "name": "x-user"}
    applied("users", OTHER, limit(10, by), limit(1000), scope="global", onFailure="deny")
    until(lambda: mesh.get("front-1", "http://other/echo", headers={"x-user": "first"}).ok, "it counts")
    session = mesh.caller("front-1")
    for user in ("alice", "bob"):
        headers = {"x-user": user}
        # What cannot be counted in time on a busy machine is 503, and may take a token.
        answers = [session.get("http://other/echo", headers=headers, timeout=30) for _ in range(40)]
        statuses = Counter(answer.status_code for answer in answers)
        assert statuses[200] == 10 or (statuses[503] and 0 < statuses[200] < 10), statuses
        assert statuses[429] > 0 and statuses.keys() <= {200, 429, 503}, statuses
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.text.startswith("mesh: too many requests: refused by RateLimit/users, 10 in 1h (")
        assert 0 < int(refused.headers["retry-after"]) <= 360
        passed = next(answer for answer in answers if answer.status_code == 200)
        assert passed.headers["x-ratelimit-limit"].startswith("10")
    assert mesh.counts("other-1") and mesh.counts("other-2"), "both instances had a part"


def test_a_global_limit_in_audit_marks_requests(mesh: Mesh, applied: Callable[..., None]) -> None:
    applied("tried", BACK, limit(2), scope="global", enforcement="audit")
    answers = [mesh.get("front-1", "http://back/echo") for _ in range(8)]
    assert {answer.status_code for answer in answers} == {200}
    until(
        lambda: (
            mesh.get("front-1", "http://back/echo").json()["headers"].get(AUDIT_HEADER) == "RateLimit/tried"
        ),
        "requests beyond the limit are marked",
    )


@pytest.mark.parametrize("process", ["store", "control-plane"])
def test_without_counters_requests_do_what_the_policy_says(
    mesh: Mesh, applied: Callable[..., None], process: str
) -> None:
    applied("open", BACK, limit(1_000_000), scope="global")
    applied("closed", OTHER, limit(1_000_000), scope="global", onFailure="deny")
    calls = {host: f"http://{host}/echo" for host in ("back", "other")}
    until(lambda: mesh.get("front-1", calls["back"]).ok, "requests are counted")
    until(lambda: mesh.get("front-1", calls["other"]).ok, "requests are counted")
    os.kill(mesh.pid(process), signal.SIGSTOP)
    try:
        answers = {host: [mesh.get("front-1", url) for _ in range(20)] for host, url in calls.items()}
    finally:
        os.kill(mesh.pid(process), signal.SIGCONT)
    assert {answer.status_code for answer in answers["back"]} == {200}
    assert {answer.status_code for answer in answers["other"]} == {503}
    assert "(onFailure: deny): refused by RateLimit/closed (rate_limiter_error)" in answers["other"][0].text
    until(lambda: mesh.get("front-1", calls["other"]).ok, "requests are counted again")
