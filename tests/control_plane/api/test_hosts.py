"""Addresses that a node may state as its own."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.hosts import reachable_ip, valid_host


def test_ip_addresses_get_their_canonical_form() -> None:
    assert reachable_ip("10.0.0.2") == "10.0.0.2"
    assert reachable_ip("2001:0DB8:0:0::1") == "2001:db8::1"


@pytest.mark.parametrize(
    "host",
    ["orders-1", "node1.example.com", "node1.example.com.", "my_container", "a" * 63, "10.0.0.2", "::1"],
)
def test_host_names_and_addresses_are_valid(host: str) -> None:
    assert valid_host(host) == host


@pytest.mark.parametrize(
    "host",
    ["", " ", "a b", "-a", "a..b", "a" * 64, ".".join(["a" * 60] * 5), "10.0.0.1:80", "http://a", "a/b",
     "a\n", "\x1b", "a\x00", "10.0.0", "10.0.0.256", "0.0.0.0", "::", "224.0.0.1", "fe80::1%eth0",
     "[::1]", "ä.example"],
)  # fmt: skip
def test_everything_else_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match="is not an"):
        valid_host(host)
