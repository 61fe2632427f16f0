"""HTTPRoute under traffic: which rule matches a request.

Every rule of the table below identifies itself by a request header, so one backend is enough.
"""

from __future__ import annotations

import contextlib
import http.client
import json
from typing import Any

import pytest
import requests

from tests.envoy.harness import Mesh, until
from tests.envoy.routes.documents import GROUP, INGRESS, SERVICE, call, filtered, route, rule, served
from tests.envoy.wrk import stats

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
    rule("queries", "{path: {value: /m}, queryParams: [{name: one, value: a}, {name: two, value: b%20c}]}"),
    rule("longer", "{path: {value: /m/longer}}"),
    rule("slash", "{path: {value: /p/}}"),
    rule("colon", '{path: {value: "/v1/items:search"}}'),
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
    ("POST", "/m", {"X-ONE": "a"}, "header"),
    ("POST", "/m", {"x-one": "A"}, "any"),
    ("POST", "/m?two=b%20c&one=a", {}, "queries"),
    ("POST", "/m?one=a&two=b%20c", {"x-one": "a"}, "header"),
    ("POST", "/m?one=a", {}, "any"),
    ("POST", "/m?One=a&two=b%20c", {}, "any"),
    ("POST", "/m?one=b&one=a&two=b%20c", {}, "any"),
    ("GET", "/m/longer", {"x-one": "a"}, "longer"),
    ("GET", "/M", {}, "any"),
    ("GET", "/p", {}, "slash"),
    ("GET", "/p/x", {}, "slash"),
    ("GET", "/px", {}, "any"),
    ("GET", "/v1/items:search", {}, "colon"),
    ("GET", "/left", {}, "either"),
    ("GET", "/right", {}, "either"),
    ("GET", "/left/", {}, "any"),
)


def test_most_specific_match_wins_in_the_mesh_and_at_the_ingress(mesh: Mesh, applied: Any) -> None:
    both = f"{SERVICE}, {INGRESS}"
    applied(route("first", both, *FIRST) + route("second", both, *SECOND))
    for method, path, headers, expected in REQUESTS:
        for response in (
            call(mesh, path, method, headers=headers),
            mesh.outside(path, method, headers=headers),
        ):
            assert response.json()["headers"].get("x-rule") == expected, (method, path, headers)


def test_equal_matches_the_older_document_wins(mesh: Mesh, applied: Any) -> None:
    applied(route("zulu", SERVICE, rule("older", "{path: {value: /same}}")))
    applied(route("alpha", SERVICE, rule("younger", "{path: {value: /same}}")))
    assert call(mesh, "/same").json()["headers"]["x-rule"] == "older"


AMBIGUOUS = (
    "/open/../shut",
    "/open//x",
    "/open/./x",
    "/open/%2e%2e/shut",
    "/open/a%2Fb",
    "/%6fpen/x",
    "/open/..",
)
"""What a rule for /open must not see as it is."""


def ask_raw(port: int, target: str, host: str) -> tuple[int, Any]:
    """Status, and the path and rule that the backend saw or the reason why it saw none."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.putrequest("GET", target, skip_host=True)
        connection.putheader("host", host)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
    if response.status != 200:
        return response.status, (body.decode(), response.headers["x-request-id"])
    echo = json.loads(body)
    return 200, (echo["path"], echo["headers"].get("x-rule"))


def test_rule_never_decides_by_an_ambiguous_path(mesh: Mesh, applied: Any) -> None:
    """A gateway normalises or refuses the path, a sidecar refuses it, unless the route matches no path."""
    outbound = mesh.ports("front-1")["outbound"]
    both = f"{SERVICE}, {INGRESS}"
    by_path = route(
        "open", both, rule("open", "{path: {value: /open}}"), rule("shut", "{path: {value: /shut}}")
    )
    applied(by_path)
    for path in AMBIGUOUS:
        status, (reason, request) = ask_raw(outbound, f"http://back{path}", "back")
        assert (status, bool(request)) == (400, True), path
        assert "HTTPRoute/open decides by path" in reason
        status, (seen, label) = ask_raw(mesh.ingress_port, path, "a.test")
        assert status in (400, 404) or (seen.startswith(f"/{label}") and ".." not in seen), (path, seen)
    assert ask_raw(outbound, "http://back/open/x?next=/../%2F", "back")[0] == 200
    applied(by_path.replace("{name: open}", "{name: open, annotations: {meshwright.io/paths: Keep}}"))
    assert ask_raw(outbound, "http://back/open/../shut", "back") == (200, ("/open/../shut", "open"))
    applied(route("open", both, rule("any", "{}")))
    assert ask_raw(outbound, "http://back/a%2Fb//..", "back")[0] == 200


def test_unmatched_request_is_not_found(mesh: Mesh, applied: Any) -> None:
    applied(route("only", f"{SERVICE}, {INGRESS}", rule("only", "{path: {value: /only}}")))
    assert call(mesh, "/only").status_code == 200
    assert call(mesh, "/other").status_code == 404
    assert mesh.outside("/only").status_code == 200
    assert mesh.outside("/other").status_code == 404


# --- backends -------------------------------------------------------------------------------------------


def test_weights_of_zero_and_missing_backends(mesh: Mesh, applied: Any) -> None:
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


def test_backend_that_appears_later_is_used(mesh: Mesh, applied: Any) -> None:
    applied(route("later", SERVICE, filtered("/", "", f"{{{GROUP}, name: late}}")))
    assert call(mesh, "/").status_code == 500
    mesh.apply(
        "{apiVersion: meshwright.io/v1, kind: Subset, metadata: {name: late},"
        " spec: {service: back, labels: {version: v2}}}"
    )
    assert served(mesh, "/", 20) == {"back-2": 20}
    mesh.delete("Subset", "late")
    assert call(mesh, "/").status_code == 500


# --- parents --------------------------------------------------------------------------------------------


def test_hostnames_at_the_ingress(mesh: Mesh, applied: Any) -> None:
    applied(
        route("exact", INGRESS, rule("exact", "{}"), hostnames="[shop.example.com]")
        + route("wild", INGRESS, rule("wild", "{}"), hostnames="['*.example.com']")
        + route("deep", INGRESS, rule("deep", "{path: {value: /deep}}"), hostnames="[shop.example.com]")
    )
    for host, path, expected in (
        ("shop.example.com", "/", "exact"),
        ("SHOP.example.com", "/", "exact"),
        ("shop.example.com:8080", "/", "exact"),
        ("shop.example.com", "/deep", "deep"),
        ("pay.example.com", "/", "wild"),
        ("a.b.example.com", "/deep", "wild"),
    ):
        response = mesh.outside(path, headers={"host": host})
        assert response.json()["headers"]["x-rule"] == expected, host
    for host in ("example.com", "example.org", "localhost"):
        assert mesh.outside("/", headers={"host": host}).status_code == 404
    applied(route("rest", INGRESS, rule("rest", "{}")))
    assert mesh.outside("/", headers={"host": "example.org"}).json()["headers"]["x-rule"] == "rest"
    assert mesh.outside("/", headers={"host": "pay.example.com"}).json()["headers"]["x-rule"] == "wild"


def test_route_for_one_port_leaves_the_other_alone(mesh: Mesh, applied: Any, extra: int) -> None:
    def ask(port: str) -> Any:
        body = mesh.get("front-1", f"http://twin{port}/echo").json()
        return body["name"], body["headers"].get("x-rule")

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


def test_persistent_connections_survive_route_changes(mesh: Mesh, applied: Any) -> None:
    caller, outside = mesh.caller("front-1"), requests.Session()
    outside.trust_env = False
    here = {"envoy_http_conn_manager_prefix": "outbound"}
    applied(route("change", f"{SERVICE}, {INGRESS}", rule("zero", "{}")))
    for session, base in ((caller, "http://back"), (outside, f"http://127.0.0.1:{mesh.ingress_port}")):
        assert session.get(base, timeout=20).ok
    before = stats(mesh, "front-1", "http_downstream_cx_total", **here)
    edge = stats(mesh, "ingress", "http_downstream_cx_total", envoy_http_conn_manager_prefix="ingress")

    def upstream() -> float:
        return stats(mesh, "front-1", "cluster_upstream_cx_total", envoy_cluster_name="back")

    until(
        lambda: caller.get("http://back", timeout=20).ok and upstream() >= 2, "both instances are connected"
    )
    value = upstream()
    for turn in range(5):
        applied(route("change", f"{SERVICE}, {INGRESS}", rule(f"turn-{turn}", "{}")))
        for session, base in ((caller, "http://back"), (outside, f"http://127.0.0.1:{mesh.ingress_port}")):
            assert session.get(base, timeout=20).json()["headers"]["x-rule"] == f"turn-{turn}"
    assert stats(mesh, "front-1", "http_downstream_cx_total", **here) == before
    assert (
        stats(mesh, "ingress", "http_downstream_cx_total", envoy_http_conn_manager_prefix="ingress") == edge
    )
    assert upstream() == value


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
def test_rejected_or_dangling_route_changes_no_traffic(mesh: Mesh, text: str, code: int) -> None:
    call(mesh, "/echo")
    here = {"envoy_http_conn_manager_prefix": "outbound"}
    updates = stats(mesh, "front-1", "http_rds_config_reload", **here)
    clusters = stats(mesh, "front-1", "cluster_manager_cluster_modified")
    done = mesh.run("apply", "-f", "-", "--wait", "--no-strict", stdin=text, check=False)
    assert done.returncode == code, done.stderr
    assert "nobody" in done.stdout + done.stderr if code == 0 else done.stderr
    response = call(mesh, "/echo")
    assert response.status_code == 200
    assert "x-rule" not in response.json()["headers"]
    assert stats(mesh, "front-1", "http_rds_config_reload", **here) == updates
    assert stats(mesh, "front-1", "cluster_manager_cluster_modified") == clusters
    if code == 0:
        mesh.run("delete", "-f", "-", "--wait", stdin=text)
