"""The CORS filter under traffic: preflight requests, and the headers by which a page may read a response."""

from __future__ import annotations

from typing import Any

import pytest

from tests.envoy.harness import Mesh
from tests.envoy.routes.documents import INGRESS, SERVICE, call, filtered, route

SOME = (
    "{type: CORS, cors: {allowOrigins: ['https://www.foo.com', 'https://*.bar.com'], allowCredentials: true,"
    " allowMethods: [GET, PUT], allowHeaders: [x-one, x-two], exposeHeaders: [x-three], maxAge: 60}}"
)
LISTS = ("allowOrigins", "allowMethods", "allowHeaders", "exposeHeaders")
EVERY = "{type: CORS, cors: {" + ", ".join(f"{name}: ['*']" for name in LISTS) + "}}"
CREDENTIALS = EVERY.replace("allowOrigins", "allowCredentials: true, allowOrigins")
PREFIX = "access-control-"


@pytest.fixture
def responses(mesh: Mesh, applied: Any) -> Any:
    """What a page of an origin gets in the mesh and at the ingress: the CORS headers by short names."""
    applied(
        route(
            "cors",
            f"{SERVICE}, {INGRESS}",
            filtered("/some", SOME),
            filtered("/every", EVERY),
            filtered("/credentials", CREDENTIALS),
        )
    )

    def ask(path: str, origin: str, method: str = "GET", **headers: str) -> dict[str, str]:
        sent = {"origin": origin} | {f"access-control-{name}": value for name, value in headers.items()}
        results = []
        for response in (
            call(mesh, path, method, headers=sent),
            mesh.outside(path, method, headers=sent),
        ):
            assert response.status_code == 200
            headers_found = {
                k.lower(): v for k, v in response.headers.items() if k.lower().startswith(PREFIX)
            }
            results.append({name.removeprefix(PREFIX): value for name, value in headers_found.items()})
            assert ("x-served-by" in response.headers) is not bool(headers_found and method == "OPTIONS")
        assert results[0] == results[1]
        return results[0]

    return ask


def preflight(method: str, headers: str = "") -> dict[str, str]:
    return {"request-method": method} | ({"request-headers": headers} if headers else {})


@pytest.mark.parametrize("origin", ["https://www.foo.com", "https://a.bar.com", "https://a.b.bar.com"])
def test_origin_that_may_call_gets_what_it_may_do(responses: Any, origin: str) -> None:
    assert responses("/some", origin, "OPTIONS", **preflight("PUT", "x-one")) == {
        "allow-origin": origin,
        "allow-credentials": "true",
        "allow-methods": "GET, PUT",
        "allow-headers": "x-one, x-two",
        "expose-headers": "x-three",
        "max-age": "60",
    }
    assert responses("/some", origin) == {
        "allow-origin": origin,
        "allow-credentials": "true",
        "expose-headers": "x-three",
    }


@pytest.mark.parametrize(
    "origin", ["https://foo.com", "http://www.foo.com", "https://bar.com", "https://a.bar.com:444"]
)
def test_origin_that_may_not_call_gets_no_header(responses: Any, origin: str) -> None:
    assert responses("/some", origin, "OPTIONS", **preflight("PUT")) == {}
    assert responses("/some", origin) == {}


def test_wildcards_allow_everything(responses: Any) -> None:
    headers_found = responses("/every", "https://any.org", "OPTIONS", **preflight("PATCH", "x-own"))
    assert headers_found["allow-origin"] in ("*", "https://any.org")
    assert "PATCH" in headers_found["allow-methods"]
    assert headers_found["allow-headers"] in ("*", "x-own")
    assert headers_found["max-age"] == "5"
    assert responses("/every", "https://any.org")["expose-headers"] == "*"


def test_wildcards_are_spelled_out_for_requests_with_credentials(responses: Any) -> None:
    """A browser takes * literally in responses to such requests."""
    headers_found = responses(
        "/credentials", "https://any.org", "OPTIONS", **preflight("PATCH", "x-own, x-other")
    )
    assert headers_found["allow-origin"] == "https://any.org"
    assert headers_found["allow-credentials"] == "true"
    assert "PATCH" in headers_found["allow-methods"].split(", ")
    assert headers_found["allow-headers"] == "x-own, x-other"
