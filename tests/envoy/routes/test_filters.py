"""The filters of an HTTPRoute under traffic: what they change in requests and responses."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import requests

from tests.envoy.harness import Mesh, until
from tests.envoy.routes.documents import GROUP, INGRESS, SERVICE, call, filtered, route, served


def test_header_modifiers_on_a_rule(mesh: Mesh, applied: Any) -> None:
    request = (
        "{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: X-Set, value: '100% new'}],"
        " add: [{name: x-add, value: more}], remove: [x-gone]}}"
    )
    response = (
        "{type: ResponseHeaderModifier, responseHeaderModifier: {set: [{name: x-tone, value: calm}],"
        " add: [{name: x-served-by, value: two}], remove: [content-type]}}"
    )
    applied(route("modified", f"{SERVICE}, {INGRESS}", filtered("/", f"{request}, {response}")))
    headers = {"x-set": "old", "x-add": "some", "x-gone": "here", "x-kept": "same"}
    for result in (call(mesh, "/echo", headers=headers), mesh.outside("/echo", headers=headers)):
        headers_received = result.json()["headers"]
        assert headers_received["x-set"] == "100% new"
        assert headers_received["x-add"] == "more", "the fake returns the last of several values"
        assert "x-gone" not in headers_received
        assert headers_received["x-kept"] == "same"
        assert result.headers["x-tone"] == "calm"
        assert result.headers["x-served-by"] in ("back-1, two", "back-2, two")
        assert "content-type" not in result.headers


@pytest.mark.parametrize("backends", [1, 2])
def test_header_modifiers_on_one_backend(mesh: Mesh, applied: Any, backends: int) -> None:
    filters = (
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-to, value: two}]}},"
        " {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-from, value: two}]}}]"
    )
    both = [f"{{{GROUP}, name: v2, {filters}}}", f"{{{GROUP}, name: v1}}"]
    applied(route("backend", SERVICE, filtered("/", "", ", ".join(both[:backends]))))
    for _ in range(20):
        response = call(mesh, "/echo")
        second = response.json()["name"] == "back-2"
        assert response.json()["headers"].get("x-to") == ("two" if second else None)
        assert response.headers.get("x-from") == ("two" if second else None)


def test_url_rewrite_changes_path_and_host(mesh: Mesh, applied: Any) -> None:
    def rewrite(path: str, change: str) -> str:
        return filtered(path, f"{{type: URLRewrite, urlRewrite: {{{change}}}}}")

    prefix = "path: {type: ReplacePrefixMatch, replacePrefixMatch: "
    applied(
        route(
            "rewrites",
            f"{SERVICE}, {INGRESS}",
            rewrite("/old", prefix + "/new/place}"),
            rewrite("/gone", prefix + "/}"),
            rewrite("/full", "path: {type: ReplaceFullPath, replaceFullPath: /whole}"),
            rewrite("/host", "hostname: other.example.com"),
        )
    )
    for path, expected, query in (
        ("/old", "/new/place", ""),
        ("/old/a/b?x=1", "/new/place/a/b", "x=1"),
        ("/old/", "/new/place/", ""),
        ("/gone", "/", ""),
        ("/gone/a?x=1", "/a", "x=1"),
        ("/full/of/it?x=1", "/whole", "x=1"),
    ):
        for response in (call(mesh, path), mesh.outside(path)):
            assert (response.json()["path"], response.json()["query"]) == (expected, query), path
    assert call(mesh, "/host").json()["headers"]["host"] == "other.example.com"
    assert call(mesh, "/host").json()["path"] == "/host"


def test_request_redirect_sets_status_and_location(mesh: Mesh, applied: Any) -> None:
    def redirect(path: str, change: str) -> str:
        return (
            f"{{matches: [{{path: {{value: {path}}}}}],"
            f" filters: [{{type: RequestRedirect, requestRedirect: {{{change}}}}}]}}"
        )

    full, prefix = (
        "path: {type: ReplaceFullPath, replaceFullPath: ",
        "path: {type: ReplacePrefixMatch, replacePrefixMatch: ",
    )
    applied(
        route(
            "redirects",
            SERVICE,
            redirect("/host", "hostname: example.com"),
            redirect("/code", "hostname: example.com, statusCode: 308"),
            redirect("/full", full + "/there}, statusCode: 301"),
            redirect("/prefix", prefix + "/after}, hostname: example.com"),
            redirect("/secure", "scheme: https, port: 8443"),
        )
    )
    for path, status, expected in (
        ("/host/a?x=1", 302, "http://example.com/host/a?x=1"),
        ("/code", 308, "http://example.com/code"),
        ("/full/a", 301, "http://back/there"),
        ("/prefix/a?x=1", 302, "http://example.com/after/a?x=1"),
        ("/secure", 302, "https://back:8443/secure"),
    ):
        response = call(mesh, path)
        assert (response.status_code, response.headers["location"]) == (status, expected)


def test_mirror_gets_copies_without_affecting_the_caller(mesh: Mesh, applied: Any) -> None:
    def mirror(path: str, ref: str, share: str = "") -> str:
        return filtered(
            path, f"{{type: RequestMirror, requestMirror: {{backendRef: {{name: {ref}}}{share}}}}}"
        )

    applied(
        route(
            "mirrored",
            f"{SERVICE}, {INGRESS}",
            mirror("/all", "shadow"),
            mirror("/some", "shadow", ", percent: 30"),
            mirror("/fail", "shadow"),
            mirror("/delay", "shadow"),
            mirror("/lost", "nobody"),
        )
    )
    mesh.reset("shadow-1")
    assert sum(served(mesh, "/all", 50).values()) == 50
    assert all(mesh.outside("/all").ok for _ in range(10))
    until(lambda: mesh.counts("shadow-1").get("GET /all") == 60, "60 copies")
    assert set(served(mesh, "/some", 600)) <= {"back-1", "back-2"}
    until(lambda: 130 <= mesh.counts("shadow-1").get("GET /some", 0) <= 230, "copies of 30 %")
    assert set(served(mesh, "/lost", 20)) <= {"back-1", "back-2"}
    response = mesh.get("front-1", "http://back/all/body", "POST", data="x" * 100_000)
    assert response.json()["body_len"] == 100_000
    until(lambda: mesh.counts("shadow-1").get("POST /all/body") == 1, "the copy of a body")


def test_slow_or_failing_mirror_does_not_affect_the_caller(mesh: Mesh, applied: Any) -> None:
    """The mirror hangs, then has no healthy instance; neither affects the caller."""
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: shadow}}}"
    applied(route("mirrored", SERVICE, filtered("/", mirror)))
    assert call(mesh, "/echo").ok
    shadow = mesh.pid("shadow-1")
    os.kill(shadow, signal.SIGSTOP)
    try:
        responses = [call(mesh, "/echo") for _ in range(30)]
    finally:
        os.kill(shadow, signal.SIGCONT)
    assert {response.status_code for response in responses} == {200}
    assert max(response.elapsed.total_seconds() for response in responses) < 8
    requests.post(f"{mesh.app('shadow-1')}/health/fail", timeout=30)
    try:
        until(lambda: _healthy(mesh, "shadow") == 0, "shadow is not healthy")
        assert sum(count for who, count in served(mesh, "/", 30).items() if who in ("back-1", "back-2")) == 30
    finally:
        requests.post(f"{mesh.app('shadow-1')}/health/ok", timeout=30)
        until(lambda: _healthy(mesh, "shadow") == 1, "shadow is healthy")


def _healthy(mesh: Mesh, name: str) -> int:
    number: int = next(service["healthy"] for service in mesh.status()["services"] if service["name"] == name)
    return number
