"""The domains of MESH_DOMAINS, and hosts in them."""

from __future__ import annotations

import re

import pytest

from meshwright.control_plane.api.host_suffixes import (
    host_names,
    mesh_name_pattern,
    parse_domains,
    service_in,
)
from meshwright.control_plane.config import read_settings
from meshwright.control_plane.errors import InputError

DOMAINS = parse_domains("internal, service.consul.")


def test_mesh_always_is_a_domain() -> None:
    assert DOMAINS == ("mesh", "internal", "service.consul")
    assert parse_domains("mesh") == ("mesh",)
    assert host_names("orders", DOMAINS)[2:] == ("orders.internal", "orders.service.consul")


@pytest.mark.parametrize(
    ("host", "service"),
    [
        ("orders", "orders"),
        ("orders.mesh:80", "orders"),
        ("orders.service.consul:8000", "orders"),
        ("orders.consul", "orders.consul"),
        ("internal", "internal"),
    ],
)
def test_hosts_of_a_domain_name_services(host: str, service: str) -> None:
    assert service_in(host, DOMAINS) == service


@pytest.mark.parametrize(
    ("host", "inside"),
    [("a.internal", True), ("A.Internal.:80", True), ("a.service.consul", True), ("a.serviceXconsul", False)],
)
def test_names_in_a_domain_never_leave_the_mesh(host: str, inside: bool) -> None:
    assert bool(re.fullmatch(mesh_name_pattern(DOMAINS), host)) is inside


@pytest.mark.parametrize("text", ["a b", "-a", "a..b", "x" * 64, ",".join(f"d{n}" for n in range(9))])
def test_a_setting_that_is_no_list_of_domains_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="MESH_DOMAINS"):
        read_settings({"MESH_DOMAINS": text})
