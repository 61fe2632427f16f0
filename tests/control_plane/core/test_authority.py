"""Which authorities the ingress accepts, and that every virtual host checks."""

from __future__ import annotations

import pytest
import re2

from meshwright.control_plane.core import authority
from meshwright.control_plane.envoy import v3

VALID = (
    "shop",
    "shop.example.com",
    "SHOP.example.com.",
    "a_b",
    "xn--bcher-kva.example",
    "b%C3%BCcher.example",
    "shop:",
    "shop:8080",
    "shop:00080",
    "shop:65535",
    "127.0.0.1:8080",
    "[::1]",
    "[::1]:8080",
    "[2001:db8::ff00:42:8329]",
    "[::ffff:192.0.2.1]:80",
    "[v1.a:b]",
)
INVALID = (
    "",
    " ",
    "a b",
    "a,b",
    "a,a",
    ",",
    "a,",
    ",a",
    "u@b",
    "u:p@b",
    "a/b",
    "a?b",
    "a#b",
    "http://a",
    "a:b",
    "a:-1",
    "a:65536",
    "a:999999",
    "a:80:80",
    ":80",
    "::1",
    "[::1",
    "::1]",
    "[]",
    "[a]",
    "[12345::]",
    "[::1]a",
    "[::1]:a",
    "%zz",
    "a%",
    "a%2",
    '"a"',
    "a\\b",
    "a<b",
    "b\u00fccher.example",
)


@pytest.mark.parametrize("value", VALID)
def test_valid_authorities_pass(value: str) -> None:
    assert re2.fullmatch(authority.PATTERN, value)


@pytest.mark.parametrize("value", INVALID)
def test_invalid_authorities_do_not(value: str) -> None:
    assert not re2.fullmatch(authority.PATTERN, value)


def _host(*domains: str) -> v3.VirtualHost:
    return v3.VirtualHost(name=domains[0], domains=domains, routes=[v3.Route(name="first")])


def test_the_check_is_the_first_route_of_each_virtual_host() -> None:
    hosts = authority.checked([_host("*.example.com"), _host("*", "shop")])
    assert [[route.name for route in host.routes] for host in hosts] == [["invalid-authority", "first"]] * 2


def test_names_without_a_virtual_host_are_checked_too() -> None:
    *_, others = authority.checked([_host("shop")])
    assert list(others.domains) == ["*"]
    assert [route.name for route in others.routes] == ["invalid-authority"]
