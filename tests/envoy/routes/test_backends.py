"""Backends under traffic: what a missing one gets, and filters that apply to the share of one."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import requests

from tests.envoy.harness import Mesh, until
from tests.envoy.routes.documents import (
    GROUP,
    INGRESS,
    SERVICE,
    call,
    conditions,
    filtered,
    policy,
    route,
)

BOTH = f"{SERVICE}, {INGRESS}"
V1, V2 = f"{{{GROUP}, name: v1", f"{{{GROUP}, name: v2"


def both(mesh: Mesh, path: str) -> list[Any]:
    """The responses to a request in the mesh and at the ingress."""
    return [call(mesh, path), mesh.outside(path, allow_redirects=False)]


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        ("name: nobody", "there is no Service nobody yet"),
        ("name: back, port: 9999", "Service back has no port 9999"),
        (f"{GROUP}, name: none", "there is no Subset none yet"),
    ],
)
def test_share_of_a_missing_backend_gets_500_and_says_why(
    mesh: Mesh, applied: Any, ref: str, text: str
) -> None:
    shares = f"{{{ref}, weight: 1}}, {V1}, weight: 1}}, {V2}, weight: 2}}"
    (warning,) = applied(route("half", BOTH, filtered("/", "", shares)))
    assert text in warning
    assert "its share is answered with 500" in warning
    status = policy(mesh, "half")
    assert conditions(status)["Accepted"] == ("True", "Accepted")
    assert conditions(status)["ResolvedRefs"] == ("False", "BackendNotFound")
    assert status["state"] == "partial"
    caller, outside = mesh.caller("front-1"), requests.Session()
    for session, url in ((caller, "http://back/"), (outside, f"http://127.0.0.1:{mesh.ingress_port}/")):
        results: Counter[Any] = Counter()
        for _ in range(240):
            response = session.get(url, timeout=30)
            results[response.headers["x-served-by"] if response.ok else response.status_code] += 1
            assert response.ok or text in response.text
        assert set(results) == {500, "back-1", "back-2"}
        for who, share in ((500, 0.25), ("back-1", 0.25), ("back-2", 0.5)):
            assert results[who] / 240 == pytest.approx(share, abs=0.12), results


def test_share_of_a_missing_backend_is_not_retried(mesh: Mesh, applied: Any) -> None:
    rule = "{retry: {attempts: 5, codes: [500, 503]}, backendRefs: [{name: nobody}, {name: back}]}"
    applied(route("half", SERVICE, rule))
    caller = mesh.caller("front-1")
    results = Counter(caller.get("http://back/", timeout=30).status_code for _ in range(200))
    assert results[500] / 200 == pytest.approx(0.5, abs=0.15)


def test_backends_have_filters_of_their_own(mesh: Mesh, applied: Any) -> None:
    rewrite = "{type: URLRewrite, urlRewrite: {hostname: a.org, path: {type: ReplacePrefixMatch,"
    rewrite += " replacePrefixMatch: /new}}}"
    header = "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-to, value: v1}]}}"
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: shadow}}}"
    redirect = "{type: RequestRedirect, requestRedirect: {hostname: b.org, statusCode: 307}}"
    applied(
        route(
            "filters",
            BOTH,
            filtered("/rewrite", "", f"{V1}, filters: [{rewrite}, {header}]}}, {V2}}}"),
            filtered("/mirror", "", f"{V1}, filters: [{mirror}]}}, {V2}}}"),
            filtered("/redirect", "", f"{V1}}}, {V2}, filters: [{redirect}]}}"),
            filtered("/only", "", f"{V1}, filters: [{rewrite}]}}"),
        )
    )
    mesh.reset("shadow-1")
    rewritten: Counter[str] = Counter()
    redirected: Counter[int] = Counter()
    mirrored = 0
    for _ in range(30):
        for response in both(mesh, "/rewrite/x"):
            first = response.headers["x-served-by"] == "back-1"
            rewritten[response.headers["x-served-by"]] += 1
            body = response.json()
            assert body["path"] == ("/new/x" if first else "/rewrite/x")
            assert (body["headers"]["host"] == "a.org") is first
            assert body["headers"].get("x-to") == ("v1" if first else None)
        mirrored += sum(response.headers["x-served-by"] == "back-1" for response in both(mesh, "/mirror"))
        for response in both(mesh, "/redirect"):
            redirected[response.status_code] += 1
            assert response.ok or response.headers["location"].startswith("http://b.org")
    assert set(rewritten) == {"back-1", "back-2"}
    assert set(redirected) == {200, 307}
    until(lambda: mesh.counts("shadow-1").get("GET /mirror") == mirrored, f"{mirrored} copies")
    assert [response.json()["path"] for response in both(mesh, "/only/y")] == ["/new/y", "/new/y"]


def test_mirror_that_does_not_resolve_is_a_condition(mesh: Mesh, applied: Any) -> None:
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: shadow, port: 4321}}}"
    (warning,) = applied(route("copies", SERVICE, filtered("/", mirror)))
    assert (
        "spec.rules[0].filters[0].requestMirror.backendRef.port: Service shadow has no port 4321" in warning
    )
    assert conditions(policy(mesh, "copies"))["ResolvedRefs"] == ("False", "BackendNotFound")
    assert call(mesh, "/").ok
