"""HTTPRoute under traffic: which rule takes a request, and what it does to it on its way.

Every rule of the table below tells by a request header which one it was, so that one backend is enough.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.envoy.harness import ROOT, Mesh, running_mesh, service, until
from tests.envoy.load import stats
from tests.fakes.ports import free_port

GROUP = "group: meshwright.io, kind: Subset"
TWO_PORTS = """
import asyncio, os
from tests.fakes.app import serve
ports = {"web": os.environ["PORT_HTTP"], "extra": os.environ["PORT_EXTRA"]}
both = [serve(name, int(port), 7, 5.0) for name, port in ports.items()]
async def main():
    tasks = [asyncio.create_task(one) for one in both]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
asyncio.run(main())
"""


def route(name: str, parents: str, *rules: str, hostnames: str = "[]") -> str:
    """An HTTPRoute document."""
    return f"""
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: {name}}}
spec:
  parentRefs: [{parents}]
  hostnames: {hostnames}
  rules: [{", ".join(rules)}]
"""


def rule(label: str, matches: str, backend: str = "name: back") -> str:
    """A rule that puts its label in a header which the backend echoes."""
    header = (
        f"{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-rule, value: {label}}}]}}}}"
    )
    return f"{{matches: [{matches}], filters: [{header}], backendRefs: [{{{backend}}}]}}"


def filtered(path: str, filters: str, backends: str = "{name: back}") -> str:
    """A rule for one path prefix with filters."""
    return f"{{matches: [{{path: {{value: {path}}}}}], filters: [{filters}], backendRefs: [{backends}]}}"


SERVICE = "{kind: Service, name: back}"
INGRESS = "{name: ingress}"


@pytest.fixture(scope="module")
def extra() -> int:
    """The number of a second port."""
    return free_port()


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory, extra: int) -> Iterator[Mesh]:
    versions = [service("back", labels={"version": version}) for version in ("v1", "v2")]
    twin = service("twin") | {
        "command": [sys.executable, "-c", TWO_PORTS],
        "ports": [{"name": "http"}, {"name": "extra", "port": extra}],
    }
    twin["env"] = {"PYTHONPATH": str(ROOT)}
    with running_mesh(
        tmp_path_factory.mktemp("mesh"), [service("front"), *versions, service("shadow"), twin]
    ) as found:
        for version in ("v1", "v2"):
            found.apply(
                f"{{apiVersion: meshwright.io/v1, kind: Subset, metadata: {{name: {version}}},"
                f" spec: {{service: back, labels: {{version: {version}}}}}}}"
            )
        yield found


@pytest.fixture
def applied(mesh: Mesh) -> Iterator[Any]:
    """Apply routes; they are gone after the test."""
    names: list[str] = []

    def apply(text: str) -> None:
        mesh.apply(text)
        names.extend(line[17:-1] for line in text.splitlines() if line.startswith("metadata: {name: "))

    yield apply
    for name in dict.fromkeys(names):
        mesh.delete("HTTPRoute", name)


def call(mesh: Mesh, path: str, method: str = "GET", **options: Any) -> requests.Response:
    """A call of `back` by the sidecar of `front`."""
    return mesh.get("front-1", f"http://back{path}", method, allow_redirects=False, **options)


# --- matches and their precedence -----------------------------------------------------------------------

# The least specific first, and in two documents: neither order may decide.
FIRST = (
    rule("any", "{}"),
    rule("api", "{path: {value: /api}}"),
    rule("regex", '{path: {type: RegularExpression, value: "/shop/[0-9]+"}}'),
    rule("get", "{path: {value: /m}, method: GET}"),
    rule("header", "{path: {value: /m}, headers: [{name: X-One, value: a}]}"),
)
SECOND = (
    rule("api-v2", "{path: {value: /api/v2}}"),
    rule("exact", "{path: {type: Exact, value: /api/v2}}"),
    rule("query", '{path: {value: /m}, queryParams: [{name: q, value: "x+", type: RegularExpression}]}'),
    rule(
        "headers",
        "{path: {value: /m}, headers: [{name: x-one, value: a},"
        " {name: x-two, value: 'b.*', type: RegularExpression}]}",
    ),
    rule("shop", "{path: {type: Exact, value: /shop/7}}"),
    rule("either", "{path: {type: Exact, value: /left}}, {path: {type: Exact, value: /right}}"),
)
REQUESTS: tuple[tuple[str, str, dict[str, str], str], ...] = (
    ("GET", "/", {}, "any"),
    ("GET", "/apiary", {}, "any"),
    ("GET", "/api", {}, "api"),
    ("GET", "/api/", {}, "api"),
    ("GET", "/api/v1?x=1", {}, "api"),
    ("GET", "/api/v2", {}, "exact"),
    ("GET", "/api/v2?x=1", {}, "exact"),
    ("GET", "/api/v2/", {}, "api-v2"),
    ("GET", "/api/v2/things", {}, "api-v2"),
    ("GET", "/shop/12", {}, "regex"),
    ("GET", "/shop/12?x=1", {}, "regex"),
    ("GET", "/shop/7", {}, "shop"),
    ("GET", "/shop/12/more", {}, "any"),
    ("GET", "/m", {}, "get"),
    ("GET", "/m", {"x-one": "a"}, "get"),
    ("POST", "/m", {}, "any"),
    ("POST", "/m", {"x-one": "a"}, "header"),
    ("POST", "/m", {"x-one": "b"}, "any"),
    ("POST", "/m", {"x-one": "a", "x-two": "bcd"}, "headers"),
    ("POST", "/m", {"x-one": "a", "x-two": "cb"}, "header"),
    ("POST", "/m?q=xxx", {}, "query"),
    ("POST", "/m?q=xy", {}, "any"),
    ("POST", "/m?q=x", {"x-one": "a"}, "header"),
    ("GET", "/left", {}, "either"),
    ("GET", "/right", {}, "either"),
    ("GET", "/left/", {}, "any"),
)


def test_the_most_specific_match_wins_inside_the_mesh_and_at_the_ingress(mesh: Mesh, applied: Any) -> None:
    both = f"{SERVICE}, {INGRESS}"
    applied(route("first", both, *FIRST) + route("second", both, *SECOND))
    for method, path, headers, wanted in REQUESTS:
        for answer in (
            call(mesh, path, method, headers=headers),
            mesh.outside(path, method, headers=headers),
        ):
            assert answer.json()["headers"].get("x-rule") == wanted, (method, path, headers)


def test_of_equal_matches_the_older_document_wins(mesh: Mesh, applied: Any) -> None:
    applied(route("zulu", SERVICE, rule("older", "{path: {value: /same}}")))
    applied(route("alpha", SERVICE, rule("younger", "{path: {value: /same}}")))
    assert call(mesh, "/same").json()["headers"]["x-rule"] == "older"


def test_what_no_rule_matches_is_not_found(mesh: Mesh, applied: Any) -> None:
    applied(route("only", f"{SERVICE}, {INGRESS}", rule("only", "{path: {value: /only}}")))
    assert call(mesh, "/only").status_code == 200
    assert call(mesh, "/other").status_code == 404
    assert mesh.outside("/only").status_code == 200
    assert mesh.outside("/other").status_code == 404


# --- backends -------------------------------------------------------------------------------------------


def served(mesh: Mesh, path: str, count: int = 300) -> Counter[Any]:
    """Who served, or the status of what failed."""
    caller = mesh.caller("front-1")
    answers = (caller.get(f"http://back{path}", timeout=20) for _ in range(count))
    return Counter(answer.headers["x-served-by"] if answer.ok else answer.status_code for answer in answers)


def test_weights_zero_and_missing_backends(mesh: Mesh, applied: Any) -> None:
    applied(
        route(
            "backends",
            SERVICE,
            filtered("/zero", "", f"{{{GROUP}, name: v1, weight: 0}}, {{{GROUP}, name: v2, weight: 3}}"),
            filtered("/none", "", f"{{{GROUP}, name: v1, weight: 0}}"),
            filtered("/missing", "", "{name: nobody}"),
            filtered("/subset", "", f"{{{GROUP}, name: nothing}}"),
            filtered("/half", "", f"{{{GROUP}, name: v1, weight: 1}}, {{name: nobody, weight: 1}}"),
            filtered("/empty", "", ""),
        )
    )
    assert served(mesh, "/zero") == {"back-2": 300}
    for path in ("/none", "/missing", "/subset", "/empty"):
        assert call(mesh, path).status_code == 500
    half = served(mesh, "/half", 600)
    failed = sum(count for who, count in half.items() if isinstance(who, int) and who >= 500)
    assert half["back-1"] + failed == 600
    assert failed / 600 == pytest.approx(0.5, abs=0.1)


def test_a_backend_that_comes_later_is_used_then(mesh: Mesh, applied: Any) -> None:
    applied(route("later", SERVICE, filtered("/", "", f"{{{GROUP}, name: late}}")))
    assert call(mesh, "/").status_code == 500
    mesh.apply(
        "{apiVersion: meshwright.io/v1, kind: Subset, metadata: {name: late},"
        " spec: {service: back, labels: {version: v2}}}"
    )
    assert served(mesh, "/", 20) == {"back-2": 20}
    mesh.delete("Subset", "late")
    assert call(mesh, "/").status_code == 500


# --- filters --------------------------------------------------------------------------------------------


def test_header_modifiers_of_a_rule(mesh: Mesh, applied: Any) -> None:
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
    for answer in (call(mesh, "/echo", headers=headers), mesh.outside("/echo", headers=headers)):
        seen = answer.json()["headers"]
        assert seen["x-set"] == "100% new"
        assert seen["x-add"] == "more", "the fake shows the last one of several"
        assert "x-gone" not in seen
        assert seen["x-kept"] == "same"
        assert answer.headers["x-tone"] == "calm"
        assert answer.headers["x-served-by"] in ("back-1, two", "back-2, two")
        assert "content-type" not in answer.headers


@pytest.mark.parametrize("backends", [1, 2])
def test_header_modifiers_of_one_backend(mesh: Mesh, applied: Any, backends: int) -> None:
    filters = (
        "filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-to, value: two}]}},"
        " {type: ResponseHeaderModifier, responseHeaderModifier: {add: [{name: x-from, value: two}]}}]"
    )
    both = [f"{{{GROUP}, name: v2, {filters}}}", f"{{{GROUP}, name: v1}}"]
    applied(route("backend", SERVICE, filtered("/", "", ", ".join(both[:backends]))))
    for _ in range(20):
        answer = call(mesh, "/echo")
        second = answer.json()["name"] == "back-2"
        assert answer.json()["headers"].get("x-to") == ("two" if second else None)
        assert answer.headers.get("x-from") == ("two" if second else None)


def test_rewrites(mesh: Mesh, applied: Any) -> None:
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
    for path, wanted, query in (
        ("/old", "/new/place", ""),
        ("/old/a/b?x=1", "/new/place/a/b", "x=1"),
        ("/old/", "/new/place/", ""),
        ("/gone", "/", ""),
        ("/gone/a?x=1", "/a", "x=1"),
        ("/full/of/it?x=1", "/whole", "x=1"),
    ):
        for answer in (call(mesh, path), mesh.outside(path)):
            assert (answer.json()["path"], answer.json()["query"]) == (wanted, query), path
    assert call(mesh, "/host").json()["headers"]["host"] == "other.example.com"
    assert call(mesh, "/host").json()["path"] == "/host"


def test_redirects(mesh: Mesh, applied: Any) -> None:
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
    for path, status, wanted in (
        ("/host/a?x=1", 302, "http://example.com/host/a?x=1"),
        ("/code", 308, "http://example.com/code"),
        ("/full/a", 301, "http://back/there"),
        ("/prefix/a?x=1", 302, "http://example.com/after/a?x=1"),
        ("/secure", 302, "https://back:8443/secure"),
    ):
        answer = call(mesh, path)
        assert (answer.status_code, answer.headers["location"]) == (status, wanted)


def test_mirrors_get_copies_and_never_touch_the_caller(mesh: Mesh, applied: Any) -> None:
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
    mesh.reset("shadow-1")
    answer = mesh.get("front-1", "http://back/all", "POST", data="x" * 100_000)
    assert answer.json()["body_len"] == 100_000
    until(lambda: mesh.counts("shadow-1") == {"POST /all": 1}, "the copy of a body")


def test_a_mirror_that_is_slow_or_fails_changes_nothing(mesh: Mesh, applied: Any) -> None:
    """The shadow hangs, then it has no healthy instance; neither costs the caller anything."""
    mirror = "{type: RequestMirror, requestMirror: {backendRef: {name: shadow}}}"
    applied(route("mirrored", SERVICE, filtered("/", mirror)))
    assert call(mesh, "/echo").ok
    shadow = mesh.pid("shadow-1")
    os.kill(shadow, signal.SIGSTOP)
    try:
        answers = [call(mesh, "/echo") for _ in range(30)]
    finally:
        os.kill(shadow, signal.SIGCONT)
    assert {answer.status_code for answer in answers} == {200}
    assert max(answer.elapsed.total_seconds() for answer in answers) < 1
    requests.post(f"{mesh.app('shadow-1')}/health/fail", timeout=10)
    try:
        until(lambda: _healthy(mesh, "shadow") == 0, "shadow is not healthy")
        assert sum(count for who, count in served(mesh, "/", 30).items() if who in ("back-1", "back-2")) == 30
    finally:
        requests.post(f"{mesh.app('shadow-1')}/health/ok", timeout=10)
        until(lambda: _healthy(mesh, "shadow") == 1, "shadow is healthy")


def _healthy(mesh: Mesh, name: str) -> int:
    found: int = next(one["healthy"] for one in mesh.status()["services"] if one["name"] == name)
    return found


# --- parents --------------------------------------------------------------------------------------------


def test_host_names_at_the_ingress(mesh: Mesh, applied: Any) -> None:
    applied(
        route("exact", INGRESS, rule("exact", "{}"), hostnames="[shop.example.com]")
        + route("wild", INGRESS, rule("wild", "{}"), hostnames="['*.example.com']")
        + route("deep", INGRESS, rule("deep", "{path: {value: /deep}}"), hostnames="[shop.example.com]")
    )
    for host, path, wanted in (
        ("shop.example.com", "/", "exact"),
        ("SHOP.example.com", "/", "exact"),
        ("shop.example.com:8080", "/", "exact"),
        ("shop.example.com", "/deep", "deep"),
        ("pay.example.com", "/", "wild"),
        ("a.b.example.com", "/deep", "wild"),
    ):
        answer = mesh.outside(path, headers={"host": host})
        assert answer.json()["headers"]["x-rule"] == wanted, host
    for host in ("example.com", "example.org", "localhost"):
        assert mesh.outside("/", headers={"host": host}).status_code == 404
    applied(route("rest", INGRESS, rule("rest", "{}")))
    assert mesh.outside("/", headers={"host": "example.org"}).json()["headers"]["x-rule"] == "rest"
    assert mesh.outside("/", headers={"host": "pay.example.com"}).json()["headers"]["x-rule"] == "wild"


def test_a_route_for_one_port_leaves_the_other_alone(mesh: Mesh, applied: Any, extra: int) -> None:
    def ask(port: str) -> Any:
        found = mesh.get("front-1", f"http://twin{port}/echo").json()
        return found["name"], found["headers"].get("x-rule")

    assert ask("") == ("web", None)
    assert ask(f":{extra}") == ("extra", None)
    twin = "kind: Service, name: twin"
    applied(
        route("one-port", f"{{{twin}, port: {extra}}}", rule("second", "{}", f"name: twin, port: {extra}"))
    )
    assert ask("") == ("web", None)
    assert ask(":80") == ("web", None)
    assert ask(f":{extra}") == ("extra", "second")
    applied(route("one-port", f"{{{twin}, port: 80}}", rule("first", "{}", "name: twin")))
    assert ask("") == ("web", "first")
    assert ask(f":{extra}") == ("extra", None)


# --- changes --------------------------------------------------------------------------------------------


def test_kept_connections_outlive_changes_of_routes(mesh: Mesh, applied: Any) -> None:
    caller, outside = mesh.caller("front-1"), requests.Session()
    outside.trust_env = False
    here = {"envoy_http_conn_manager_prefix": "outbound"}
    applied(route("change", f"{SERVICE}, {INGRESS}", rule("zero", "{}")))
    for session, base in ((caller, "http://back"), (outside, f"http://127.0.0.1:{mesh.ingress_port}")):
        assert session.get(base, timeout=20).ok
    before = stats(mesh, "front-1", "http_downstream_cx_total", **here)
    edge = stats(mesh, "ingress", "http_downstream_cx_total", envoy_http_conn_manager_prefix="ingress")
    upstream = stats(mesh, "front-1", "cluster_upstream_cx_total", envoy_cluster_name="back")
    for turn in range(5):
        applied(route("change", f"{SERVICE}, {INGRESS}", rule(f"turn-{turn}", "{}")))
        for session, base in ((caller, "http://back"), (outside, f"http://127.0.0.1:{mesh.ingress_port}")):
            assert session.get(base, timeout=20).json()["headers"]["x-rule"] == f"turn-{turn}"
    assert stats(mesh, "front-1", "http_downstream_cx_total", **here) == before
    assert (
        stats(mesh, "ingress", "http_downstream_cx_total", envoy_http_conn_manager_prefix="ingress") == edge
    )
    assert stats(mesh, "front-1", "cluster_upstream_cx_total", envoy_cluster_name="back") == upstream


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (route("bad", SERVICE, rule("bad", "{path: {value: no-slash}}")), 2),
        (route("good", SERVICE, rule("good", "{}")) + "---\n{kind: Unknown}\n", 2),
        (route("bad", SERVICE, rule("bad", '{path: {type: RegularExpression, value: "("}}')), 2),
        (route("lost", "{kind: Service, name: nobody}", rule("lost", "{}")), 0),
        (
            "{apiVersion: meshwright.io/v1, kind: Retry, metadata: {name: lost},"
            " spec: {targetRefs: [{kind: Service, name: nobody}]}}",
            0,
        ),
        (
            "{apiVersion: meshwright.io/v1, kind: Timeout, metadata: {name: lost},"
            " spec: {targetRefs: [{kind: HTTPRoute, name: nobody}], request: 1ms}}",
            0,
        ),
    ],
    ids=["path", "one of two", "regex", "route", "retry", "timeout"],
)
def test_what_is_refused_or_aims_at_nothing_changes_no_traffic(mesh: Mesh, text: str, code: int) -> None:
    call(mesh, "/echo")
    here = {"envoy_http_conn_manager_prefix": "outbound"}
    updates = stats(mesh, "front-1", "http_rds_config_reload", **here)
    clusters = stats(mesh, "front-1", "cluster_manager_cluster_modified")
    done = mesh.run("apply", "-f", "-", "--wait", stdin=text, check=False)
    assert done.returncode == code, done.stderr
    assert "nobody" in done.stdout + done.stderr if code == 0 else done.stderr
    answer = call(mesh, "/echo")
    assert answer.status_code == 200
    assert "x-rule" not in answer.json()["headers"]
    assert stats(mesh, "front-1", "http_rds_config_reload", **here) == updates
    assert stats(mesh, "front-1", "cluster_manager_cluster_modified") == clusters
    for kind in ("HTTPRoute", "Retry", "Timeout"):
        mesh.run("delete", kind, "lost", "--wait", check=False)
