"""Matchers of texts and headers, and changes to headers, as Envoy decides and makes them."""

from __future__ import annotations

import pytest

from meshwright.control_plane.core.header_changes import Headers, formatted, with_changes, with_mutations
from meshwright.control_plane.core.text_match import header_matches, text_matches
from meshwright.control_plane.envoy import v3

ACTIONS = v3.HeaderValueOption


def option(name: str, value: str, action: int) -> v3.HeaderValueOption:
    header = v3.HeaderValue(key=name, value=value)
    return v3.HeaderValueOption(header=header, append_action=action)


@pytest.mark.parametrize(
    ("matcher", "text", "matches"),
    [
        (v3.StringMatcher(exact="a"), "a", True),
        (v3.StringMatcher(exact="a"), "A", False),
        (v3.StringMatcher(exact="A", ignore_case=True), "a", True),
        (v3.StringMatcher(prefix="a"), "ab", True),
        (v3.StringMatcher(suffix="b"), "ab", True),
        (v3.StringMatcher(contains="b"), "abc", True),
        (v3.StringMatcher(safe_regex=v3.RegexMatcher(regex="a.")), "ab", True),
        (v3.StringMatcher(safe_regex=v3.RegexMatcher(regex="a")), "ab", False),
    ],
)
def test_texts(matcher: v3.StringMatcher, text: str, matches: bool) -> None:
    assert text_matches(matcher, text) is matches


@pytest.mark.parametrize(
    ("matcher", "values", "matches"),
    [
        (v3.HeaderMatcher(present_match=True), ["a"], True),
        (v3.HeaderMatcher(present_match=True), [], False),
        (v3.HeaderMatcher(present_match=False), [], True),
        (v3.HeaderMatcher(present_match=True, invert_match=True), ["a"], False),
        (v3.HeaderMatcher(string_match=v3.StringMatcher(exact="a,b")), ["a", "b"], True),
        (v3.HeaderMatcher(string_match=v3.StringMatcher(exact="a"), invert_match=True), ["b"], True),
        (v3.HeaderMatcher(string_match=v3.StringMatcher(exact="")), [], False),
        (
            v3.HeaderMatcher(string_match=v3.StringMatcher(exact=""), treat_missing_header_as_empty=True),
            [],
            True,
        ),
    ],
)
def test_headers(matcher: v3.HeaderMatcher, values: list[str], matches: bool) -> None:
    assert header_matches(matcher, values) is matches


@pytest.mark.parametrize(
    ("action", "before", "after"),
    [
        (ACTIONS.APPEND_IF_EXISTS_OR_ADD, (("a", "1"),), (("a", "1"), ("a", "2"))),
        (ACTIONS.ADD_IF_ABSENT, (("a", "1"),), (("a", "1"),)),
        (ACTIONS.ADD_IF_ABSENT, (), (("a", "2"),)),
        (ACTIONS.OVERWRITE_IF_EXISTS_OR_ADD, (("A", "1"), ("a", "3")), (("a", "2"),)),
        (ACTIONS.OVERWRITE_IF_EXISTS, (), ()),
        (ACTIONS.OVERWRITE_IF_EXISTS, (("a", "1"),), (("a", "2"),)),
    ],
)
def test_each_way_to_set_a_header(action: int, before: Headers, after: Headers) -> None:
    assert with_changes(before, v3.Route(request_headers_to_add=[option("A", "2", action)])) == after
    assert with_mutations(before, [v3.ConfigHeaderMutation(append=option("A", "2", action))]) == after


def test_removals_go_first_and_additions_last() -> None:
    route = v3.Route(
        request_headers_to_remove=["Gone"],
        request_headers_to_add=[
            option("a", "added", ACTIONS.APPEND_IF_EXISTS_OR_ADD),
            option("a", "set", ACTIONS.OVERWRITE_IF_EXISTS_OR_ADD),
        ],
    )
    assert with_changes((("gone", "1"), ("a", "old")), route) == (("a", "set"), ("a", "added"))


def test_commands_in_values() -> None:
    assert formatted("%REQ(X)% is 100%%", lambda command: f"<{command}>") == "<REQ(X)> is 100%"
    assert formatted("%START_TIME%", lambda _: None) is None
