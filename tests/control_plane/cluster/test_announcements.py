"""Addresses of control planes in the store, where anybody with its password may write."""

from __future__ import annotations

import json

import pytest

from meshwright.control_plane.cluster.announcements import parse_announcements


@pytest.mark.parametrize(
    ("xds", "admin"),
    [
        ("10.0.0.1:15012", "http://10.0.0.1:15080"),
        ("[2001:db8::1]:15012", "http://[2001:db8::1]:15080"),
        ("control-plane-1:15012", ""),
        ("10.0.0.1:15012", "http://mesh.example"),
    ],
)
def test_addresses_of_hosts_are_accepted(xds: str, admin: str) -> None:
    parsed = parse_announcements({"a": json.dumps({"xds": xds, "admin": admin})})
    assert (parsed["a"].xds, parsed["a"].admin) == (xds, admin)


@pytest.mark.parametrize(
    "fields",
    [
        {"xds": "10.0.0.1"},
        {"xds": "10.0.0.1:0"},
        {"xds": "10.0.0.1:70000"},
        {"xds": "unix:/run/x.sock"},
        {"xds": "unix:///run/x.sock:1"},
        {"xds": "a b:1"},
        {"xds": "\x1b[2J:1"},
        {"xds": "10.0.0.1:15012", "admin": "file:///etc/passwd"},
        {"xds": "10.0.0.1:15012", "admin": "http://user@10.0.0.1:1"},
        {"xds": "10.0.0.1:15012", "admin": "http://10.0.0.1:1/path"},
        {"xds": 7},
        {},
    ],
)
def test_anything_else_is_ignored_and_hides_no_other(fields: dict[str, object]) -> None:
    good = json.dumps({"xds": "10.0.0.2:15012"})
    assert parse_announcements({"a": json.dumps(fields), "b": good}).keys() == {"b"}
    assert parse_announcements({"a": "not json", "b": good}).keys() == {"b"}
