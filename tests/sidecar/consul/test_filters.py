"""Consul's filter expressions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.sidecar.consul.filters import MAX_DEPTH, MAX_LENGTH, FilterExpression, any_key

SAMPLE: dict[str, Any] = {
    "Service": {"ID": "", "Tags": [], "Meta": any_key(), "Port": 0, "EnableTagOverride": False},
    "Checks": [{"Status": ""}],
}


def entry(
    id: str, *tags: str, port: int = 8000, status: str = "passing", meta: dict[str, str] | None = None
) -> dict[str, Any]:
    service = {"ID": id, "Tags": [*tags], "Meta": meta or {}, "Port": port, "EnableTagOverride": False}
    return {"Service": service, "Checks": [{"Status": status}]}


ENTRIES = [
    entry("a", "v1", "eu", meta={"version": "1", "team.name": "x"}),
    entry("b", "v2", port=9000, status="critical", meta={"version": "2"}),
    entry("c"),
]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('Service.ID == "a"', "a"),
        ("Service.ID == a", "a"),
        ("Service.ID != `a`", "bc"),
        ("Service.Port == 9000", "b"),
        ("Service.EnableTagOverride == false", "abc"),
        ("v1 in Service.Tags", "a"),
        ('"v1" not in Service.Tags', "bc"),
        ("Service.Tags contains v2", "b"),
        ("Service.Tags not contains v2", "ac"),
        ("Service.Tags is empty", "c"),
        ("Service.Tags is not empty", "ab"),
        ("Service.Meta.version == 1 or Service.Meta.version == 2", "ab"),
        ("Service.Meta.version != 1", "bc"),
        ("version in Service.Meta", "ab"),
        ('Service.Meta["team.name"] == x', "a"),
        ('"/Service/Meta/team.name" == x', "a"),
        ("Service.ID matches `^[ab]$`", "ab"),
        ("Service.ID not matches b", "ac"),
        ("not (Service.ID == a or Service.ID == b)", "c"),
        ("Service.ID == a or Service.ID == b and Service.Port == 1", "a"),
        ("NOT Service.ID == a AND Service.ID == b", "b"),
        ("Checks.Status == critical", "b"),
        ("Checks is empty", ""),
    ],
)
def test_an_expression_selects(text: str, ids: str) -> None:
    selected = FilterExpression(text, SAMPLE).select(ENTRIES)
    assert "".join(item["Service"]["ID"] for item in selected) == ids


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Service.Name == a", 'Selector "Service.Name" is not valid'),
        ("Service.ID", "expected an operator"),
        ("Service.ID ==", "expected a selector or a value after ==, not the end"),
        ("Service.ID == a b", "expected an operator after a, not b"),
        ("(Service.ID == a", r"expected `\)`"),
        ("Service.ID is full", "expected `empty`"),
        ("Service.Tags == v1", "`==` cannot be used with Service.Tags"),
        ("Service.Port matches 1", "`matches` cannot be used"),
        ("Service.ID matches `(`", "not a regular expression"),
        ('Service.ID == "a', "cannot be read"),
        ("not " * (MAX_DEPTH + 1) + "Service.ID == a", "levels"),
        ("a" * (MAX_LENGTH + 1), "characters"),
    ],
)
def test_what_cannot_be_honoured_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FilterExpression(text, SAMPLE)


@given(
    st.lists(
        st.sampled_from(
            ["Service.ID", "Service.Tags", "==", "!=", "in", "not", "and", "(", ")", "is", "empty", "a"]
        )
        | st.text(max_size=8),
        max_size=12,
    )
)
def test_every_text_is_an_expression_or_an_error(words: list[str]) -> None:
    try:
        expression = FilterExpression(" ".join(words), SAMPLE)
    except ValueError:
        return
    assert all(item in ENTRIES for item in expression.select(ENTRIES))
