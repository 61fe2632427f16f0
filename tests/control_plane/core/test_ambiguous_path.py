"""Which paths a sidecar refuses where an HTTPRoute decides by path, and for which hosts it does."""

from __future__ import annotations

from urllib.parse import quote

import pytest
import re2

from meshwright.control_plane.core import ambiguous_path
from meshwright.control_plane.core.resource import VHDS
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.ambiguous_path import NORMALISED, is_ambiguous
from meshwright.control_plane.policies.loader import load
from tests.control_plane.core.worlds import body, exchange, route

BY_PATH = route("r", "{matches: [{path: {value: /a}}], backendRefs: [{name: inventory}]}")
KEEP = BY_PATH.replace("{name: r}", "{name: r, annotations: {meshwright.io/paths: Keep}}", 1)
ANY_PATH = route("any", "{matches: [{headers: [{name: x, value: y}]}], backendRefs: [{name: inventory}]}")


@pytest.mark.parametrize(
    "path",
    [
        "//", "/a//b", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/a/.", "/a\\b", "/a%2fb", "/a%2Fb",
        "/a%5cb", "/a%5Cb", "/%2e%2e/b", "/a/%2E", "/%61", "/%7a", "/%41%5A", "/%30", "/%39", "/%2d", "/%5f",
        "/%7E",
    ],
)  # fmt: skip
def test_path_that_may_be_read_in_two_ways_is_ambiguous(path: str) -> None:
    assert is_ambiguous(path, NORMALISED)


def test_every_escaped_unreserved_character_and_slash_is_ambiguous_and_no_other() -> None:
    for code in range(256):
        character = chr(code)
        same = code < 128 and quote(character, safe="") == character
        for escaped in (f"/%{code:02x}", f"/%{code:02X}"):
            expected = same or character in "/\\"
            assert is_ambiguous(escaped, NORMALISED) is expected, escaped
            assert (re2.fullmatch(NORMALISED, escaped) is not None) is expected, escaped


@pytest.mark.parametrize(
    "path",
    ["/", "/a", "/a/b/", "/.well-known/x", "/a..b", "/...", "/a./b", "/a.", "/%20%C3%A4", "/a;x", "/*"],
)
def test_plain_path_is_not(path: str) -> None:
    assert not is_ambiguous(path, NORMALISED)


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (BY_PATH, ["HTTPRoute/r"]),
        (BY_PATH + ANY_PATH, ["HTTPRoute/r"]),
        (BY_PATH + KEEP.replace("{name: r,", "{name: kept,"), ["HTTPRoute/r"]),
        (BY_PATH.replace("value: /a", "type: RegularExpression, value: /.*"), ["HTTPRoute/r"]),
        (BY_PATH.replace("value: /a", "value: /"), []),
        (KEEP, []),
        (ANY_PATH, []),
        ("", []),
    ],
)
def test_sidecar_refuses_them_only_where_a_route_decides_by_path(text: str, refused: list[str]) -> None:
    host = body(translate(exchange(text)).snapshot.shared[VHDS, "out/inventory"])
    first: v3.Route = host.routes[0]
    assert (first.name == ambiguous_path.ROUTE) is bool(refused)
    if refused:
        assert first.direct_response.status == 400
        assert "HTTPRoute/r decides by path" in first.direct_response.body.inline_string
        assert codec.to_dict(first.metadata)["filter_metadata"] == {"meshwright": {"policies": refused}}


def test_annotation_has_two_values() -> None:
    (problem,) = load(KEEP.replace("Keep", "keep").encode(), "r.yaml").problems
    assert "annotation meshwright.io/paths is 'keep': write Keep, or Reject" in problem.message
