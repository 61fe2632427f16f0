"""Percentages in texts."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.call_text import call_lines
from meshwright.control_plane.api.percent_text import percent_text


@pytest.mark.parametrize(
    ("percent", "text"),
    [
        (100 / 3, "33.33 %"),
        (200 / 3, "66.67 %"),
        (12.5, "12.5 %"),
        (100 * 0.07, "7 %"),
        (90.0, "90 %"),
        (100, "100 %"),
        (0, "0 %"),
        (99.999, ">99.99 %"),
        (0.0001, "<0.01 %"),
    ],
)
def test_a_percentage_has_two_decimals_at_most_and_is_never_rounded_to_nothing_or_all(
    percent: float, text: str
) -> None:
    assert percent_text(percent) == text


def test_the_shares_of_an_explained_route_are_rounded() -> None:
    routes = [
        {"share": share, "status": 0, "location": "", "cluster": name, "steps": []}
        for share, name in ((1 / 3, "inventory"), (2 / 3, "inventory/v2"))
    ]
    proxy = {"proxy": "front", "direction": "outbound", "proxies": 1, "synced": 1}
    hop = {**proxy, "steps": [], "routes": routes}
    lines = list(call_lines({"verdict": "forwarded", "summary": "", "revision": 1, "hops": [hop]}))
    assert [line.strip() for line in lines[-2:]] == ["33.33 % → inventory", "66.67 % → inventory/v2"]
