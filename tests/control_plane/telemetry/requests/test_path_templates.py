"""Paths become templates: IDs are found by their look, and by the number of alternatives."""

from __future__ import annotations

import pytest

from meshwright.control_plane.telemetry.requests.path_templates import (
    ANY,
    MAX_ALTERNATIVES,
    collapse,
    matches,
    template_of,
)


@pytest.mark.parametrize(
    ("path", "template"),
    [
        ("/", "/"),
        ("/orders", "/orders"),
        ("/orders/", "/orders/"),
        ("/orders/17/items/-3", "/orders/{id}/items/{id}"),
        ("/v1/orders/6ba7b810-9dad-11d1-80b4-00c04fd430c8", "/v1/orders/{id}"),
        ("/blobs/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/blobs/{id}"),
        ("/orders/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/orders/{id}"),
        ("/oauth2-callback-of-partners", "/oauth2-callback-of-partners"),
        ("/names/J%C3%B6rg", "/names/{id}"),
        ("/a/{b}", "/a/{id}"),
        ("/a//b", ANY),
        ("/a/../b", ANY),
        ("*", ANY),
        ("/" + "x" * 600, ANY),
    ],
)
def test_a_path_is_generalised_or_cannot_be_named(path: str, template: str) -> None:
    assert template_of(path) == template


def test_a_grpc_call_has_no_ids() -> None:
    path = "/shop.v1.InventoryService2024/Get"
    assert template_of(path, grpc=True) == path
    assert template_of(path) == "/{id}/Get"


def test_a_place_with_many_alternatives_is_an_id() -> None:
    users = [f"/users/{name * 3}/orders" for name in "abcdefghijkl"]
    assert len(users) > MAX_ALTERNATIVES
    collapsed = collapse([*users, "/users", "/health/ready"])
    assert set(collapsed.values()) == {"/users/{id}/orders", "/users", "/health/ready"}
    few = users[:MAX_ALTERNATIVES]
    assert collapse(few) == {path: path for path in few}


def test_a_template_covers_paths_of_its_length() -> None:
    assert matches("/a/{id}", "/a/b")
    assert matches("/a/{id}", "/a/{id}")
    assert not matches("/a/{id}", "/a")
    assert not matches("/a/{id}", "/b/c")
    assert not matches("/a/b", "/a/{id}")
