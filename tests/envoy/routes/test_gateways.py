"""Gateways under traffic: which listener a request belongs to, which routes it accepts, what the status says.

Each case is a sentence of the Gateway API's specification: routes and listeners, then requests with the route
that has to answer them.
"""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.envoy.harness import Mesh, until
from tests.envoy.routes.conftest import LEDGER_PORT
from tests.envoy.routes.documents import at, conditions, gateway, policy, route, rule
from tests.fakes.ports import free_port

HTTP = "protocol: HTTP"


def listener(name: str, port: int, more: str = HTTP) -> str:
    return f"{{name: {name}, port: {port}, {more}}}"


def section(name: str) -> str:
    return f"{{name: ingress, sectionName: {name}}}"


def answers(port: int, host: str, path: str = "/") -> str:
    """The route that answers, or the status."""
    response = at(port, path, host)
    return str(response.json()["headers"].get("x-rule")) if response.ok else str(response.status_code)


def test_request_belongs_to_the_listener_with_the_most_specific_hostname(mesh: Mesh, applied: Any) -> None:
    port = free_port()
    names = {
        "empty": "",
        "wild": "*.example.com",
        "deep": "*.foo.example.com",
        "exact": "abc.foo.example.com",
    }
    listeners = [
        listener(name, port, f'{HTTP}, hostname: "{host}"' if host else HTTP) for name, host in names.items()
    ]
    hostnames = "[bar.com, '*.example.com', '*.foo.example.com', abc.foo.example.com]"
    applied(
        gateway("ingress", *listeners)
        + "".join(
            route(name, section(name), rule(name, f"{{path: {{value: /{name}}}}}"), hostnames=hostnames)
            for name in names
        )
    )
    for host, owner in (
        ("bar.com", "empty"),
        ("bar.example.com", "wild"),
        ("bar.foo.example.com", "deep"),
        ("abc.foo.example.com", "exact"),
        ("other.org", ""),
    ):
        for name in names:
            assert answers(port, host, f"/{name}") == (name if name == owner else "404"), (host, name)
    status = policy(mesh, "ingress")
    assert {item["name"]: item["attached_routes"] for item in status["listeners"]} == dict.fromkeys(names, 1)


def test_rules_of_overlapping_hostnames_fall_back_to_the_wider_one(mesh: Mesh, applied: Any) -> None:
    port = free_port()
    parent = section("web")
    applied(
        gateway("ingress", listener("web", port))
        + route("one", parent, rule("one", "{path: {value: /a}}"), hostnames="['*.example.com']")
        + route("two", parent, rule("two", "{path: {value: /b}}"), hostnames="[foo.example.com]")
        + route("three", parent, rule("three", "{}"), rule("exact", "{path: {type: Exact, value: /b}}"))
    )
    for host, path, expected in (
        ("foo.example.com", "/b", "two"),  # an exact path of a wider host name comes later
        ("foo.example.com", "/a", "one"),
        ("foo.example.com", "/z", "three"),
        ("bar.example.com", "/a", "one"),
        ("bar.example.com", "/b", "exact"),
        ("example.org", "/a", "three"),
    ):
        assert answers(port, host, path) == expected, (host, path)


def test_listeners_have_ports_kinds_and_protocols_of_their_own(mesh: Mesh, applied: Any) -> None:
    plain, calls, inside, tcp, both = (free_port() for _ in range(5))
    mine = "namespaces: {from: Selector, selector: {matchLabels: {kubernetes.io/metadata.name: default}}}"
    warnings = applied(
        gateway(
            "ingress",
            listener("plain", plain, f"{HTTP}, allowedRoutes: {{{mine}}}"),
            listener("calls", calls, f"{HTTP}, allowedRoutes: {{kinds: [{{kind: GRPCRoute}}]}}"),
            listener("inside", inside, f"{HTTP}, allowedRoutes: {{namespaces: {{from: None}}}}"),
            listener("data", tcp, "protocol: TCP"),
            listener("one", both),
            listener("other", both, "protocol: TCP"),
            listener("secure", 8443, "protocol: HTTPS, tls: {certificateRefs: [{name: x}]}"),
        )
        + route("web", "{name: ingress}", rule("web", "{}"))
        + route("lost", section("calls"), rule("lost", "{}"))
        + route("ports", f"{{name: ingress, port: {plain}}}", rule("ports", "{path: {value: /p}}"))
    )
    assert answers(plain, "a.test") == "web"
    assert answers(plain, "a.test", "/p") == "ports"
    assert answers(calls, "a.test") == "404"
    assert answers(inside, "a.test") == "404"
    for port in (both, 8443):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", port), 5)
    results = {item["name"]: item for item in policy(mesh, "ingress")["listeners"]}
    assert {name: item["attached_routes"] for name, item in results.items()} == {
        "plain": 2, "calls": 0, "inside": 0, "data": 0, "one": 1, "other": 0, "secure": 1,
    }  # fmt: skip
    assert conditions(results["plain"]) == {
        "Accepted": ("True", "Accepted"),
        "Conflicted": ("False", "NoConflicts"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Programmed": ("True", "Programmed"),
    }
    assert conditions(results["one"])["Conflicted"] == ("True", "ProtocolConflict")
    assert conditions(results["secure"])["ResolvedRefs"] == ("False", "InvalidCertificateRef")
    assert conditions(policy(mesh, "lost"))["Accepted"] == ("False", "NotAllowedByListeners")
    assert results["data"]["supported_kinds"] == ["TCPRoute"]
    assert [line for line in warnings if "HTTPRoute/lost: spec.parentRefs[0]" in line]


def test_tcp_route_at_a_gateway(mesh: Mesh, applied: Any) -> None:
    port = free_port()
    text = gateway("ingress", listener("data", port, "protocol: TCP"))
    for version in ("v1", "v1alpha2"):
        applied(
            text
            + route("tcp", section("data"), f"{{backendRefs: [{{name: ledger, port: {LEDGER_PORT}}}]}}")
            .replace("hostnames: []", "")
            .replace("HTTPRoute", "TCPRoute")
            .replace("k8s.io/v1\nkind: TCPRoute", f"k8s.io/{version}\nkind: TCPRoute")
        )
        with socket.create_connection(("127.0.0.1", port), 30) as client, client.makefile("rwb") as lines:
            lines.write(b"hello\n")
            lines.flush()
            assert lines.readline() == b"ledger-1: hello\n"
        assert policy(mesh, "ingress")["listeners"][0]["attached_routes"] == 1
    applied(
        route("tcp", section("data"), "{backendRefs: [{name: ledger, port: 4444}]}")
        .replace("hostnames: []", "")
        .replace("HTTPRoute", "TCPRoute")
    )
    with socket.create_connection(("127.0.0.1", port), 30) as client:
        assert client.recv(1) == b""
    assert conditions(policy(mesh, "tcp"))["ResolvedRefs"] == ("False", "BackendNotFound")


@pytest.mark.parametrize(
    ("parent", "hostnames", "expected"),
    [
        ("{name: ingress, sectionName: htttp}", "[]", ("NoMatchingParent", "parentRefs[0].sectionName")),
        ("{name: ingress, port: 81}", "[]", ("NoMatchingParent", "parentRefs[0].port")),
        ("{name: outer}", "[]", ("NoMatchingParent", "parentRefs[0].name")),
        ("{kind: Service, name: back, port: 9999}", "[]", ("NoMatchingParent", "parentRefs[0].port")),
        ("{name: ingress}", "[a.org]", ("NoMatchingListenerHostname", "hostnames")),
    ],
)
def test_route_that_attaches_nowhere_is_a_warning_and_not_accepted(
    mesh: Mesh, applied: Any, parent: str, hostnames: str, expected: tuple[str, str]
) -> None:
    port, (reason, field) = free_port(), expected
    applied(gateway("ingress", listener("web", port, f'{HTTP}, hostname: "*.example.com"')))
    (warning,) = applied(route("stray", parent, rule("stray", "{}"), hostnames=hostnames))
    assert f"HTTPRoute/stray: spec.{field}: " in warning
    status = policy(mesh, "stray")
    assert conditions(status)["Accepted"] == ("False", reason)
    assert conditions(status["parents"][0])["Accepted"] == ("False", reason)
    assert at(port, host="a.example.com").status_code == 404


def test_gateway_without_a_document_is_known_and_has_the_port_of_its_node(
    mesh: Mesh, applied: Any, inner: int
) -> None:
    good = route("good", f"{{name: inner, sectionName: http, port: {inner}}}", rule("good", "{}"))
    assert applied(good) == ()
    assert answers(inner, "a.test") == "good"
    assert conditions(policy(mesh, "good"))["Accepted"] == ("True", "Accepted")
    (warning,) = applied(route("bad", "{name: inner, port: 81}", rule("bad", "{path: {value: /bad}}")))
    assert "spec.parentRefs[0].port: Gateway inner does not listen on port 81" in warning
    assert answers(inner, "a.test", "/bad") == "good"


def test_listener_called_http_listens_where_the_application_file_says(
    mesh: Mesh, applied: Any, inner: int
) -> None:
    (warning,) = applied(gateway("inner", listener("http", 12345)))
    assert f"listener http listens on port {inner}" in warning
    (results,) = policy(mesh, "inner")["listeners"]
    assert (results["port"], results["bound_port"]) == (12345, inner)
    target = "{type: RequestRedirect, requestRedirect: {hostname: a.org}}"
    applied(route("to", "{name: inner, port: 12345}", f"{{filters: [{target}]}}"))
    assert at(inner).headers["location"] == "http://a.org:12345/"


def test_listeners_come_and_go_at_run_time(mesh: Mesh, applied: Any) -> None:
    first, second = free_port(), free_port()
    applied(gateway("ingress", listener("first", first)) + route("web", "{name: ingress}", rule("web", "{}")))
    assert answers(first, "a.test") == "web"
    applied(gateway("ingress", listener("second", second)))
    assert answers(second, "a.test") == "web"
    until(lambda: _refused(first), "the old listener is closed")


def _refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(
    ("change", "location"),
    [
        ("hostname: a.org", "http://a.org:PORT/x?y=1"),
        ("hostname: a.org, statusCode: 307", "http://a.org:PORT/x?y=1"),
        ("hostname: a.org, scheme: http", "http://a.org/x?y=1"),
        ("hostname: a.org, scheme: https", "https://a.org/x?y=1"),
        ("hostname: a.org, scheme: https, port: 8443", "https://a.org:8443/x?y=1"),
        ("hostname: a.org, port: 80", "http://a.org/x?y=1"),
        ("scheme: https", "https://shop.test:443/x?y=1"),
        ("port: 81", "http://shop.test:81/x?y=1"),
        ("path: {type: ReplaceFullPath, replaceFullPath: /z}", "http://shop.test:PORT/z?y=1"),
    ],
)
def test_redirect_derives_what_it_does_not_say_from_the_listener(
    mesh: Mesh, applied: Any, change: str, location: str
) -> None:
    port = free_port()
    rule_text = f"{{filters: [{{type: RequestRedirect, requestRedirect: {{{change}}}}}]}}"
    applied(gateway("ingress", listener("web", port)) + route("to", "{name: ingress}", rule_text))
    response = at(port, "/x?y=1", f"shop.test:{port}")
    assert response.headers["location"] == location.replace("PORT", str(port))


@pytest.mark.parametrize(
    ("change", "host", "location"),
    [
        ("scheme: https", "shop.test", "https://shop.test/x"),
        ("scheme: https", "shop.test:80", "https://shop.test/x"),
        ("scheme: https", "[::1]", "https://[::1]/x"),
        ("scheme: https", "[::1]:8080", "https://[::1]:443/x"),
        ("scheme: https, port: 443", "shop.test", "https://shop.test/x"),
        ("scheme: https, port: 8443", "shop.test", "https://shop.test:8443/x"),
        ("scheme: http", "shop.test", "http://shop.test/x"),
        ("port: 80", "shop.test", "http://shop.test/x"),
        ("port: 80", "shop.test:8080", "http://shop.test:80/x"),
    ],
)
def test_redirect_leaves_out_the_well_known_port_of_its_scheme(
    mesh: Mesh, applied: Any, change: str, host: str, location: str
) -> None:
    port = free_port()
    rule_text = f"{{filters: [{{type: RequestRedirect, requestRedirect: {{{change}}}}}]}}"
    applied(gateway("ingress", listener("web", port)) + route("to", "{name: ingress}", rule_text))
    assert at(port, "/x", host).headers["location"] == location
