"""Paths as a gateway normalises them; tests/envoy/test_authorization.py compares some with a real Envoy."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.normal_path import normalized


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "/"),
        ("/a/b/", "/a/b/"),
        ("//a///b", "/a/b"),
        ("/a/./b/../c", "/a/c"),
        ("/a/..", "/"),
        ("/a/b/.", "/a/b/"),
        ("/../../a", "/a"),
        ("/a/%2E%2e/b", "/b"),
        ("/%61%2D%7e", "/a-~"),
        ("/%41b%20c%3b", "/Ab%20c%3b"),
        ("/a\\b", "/a/b"),
        ("/a//b?x=//..&y=%2f", "/a/b?x=//..&y=%2f"),
        ("/a%2Fb", None),
        ("/a%5cb", None),
        ("/a#b", None),
    ],
)
def test_a_path_is_normalised_or_refused(path: str, expected: str | None) -> None:
    assert normalized(path) == expected
