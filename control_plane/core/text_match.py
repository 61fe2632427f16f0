"""Envoy's matchers of texts and headers, decided here. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import re2

SHOWN_CHARACTERS = 60
"""Characters of a regular expression that a description shows."""


def text_matches(matcher: v3.StringMatcher, text: str) -> bool:
    """Whether a text matches."""
    kind = matcher.WhichOneof("match_pattern")
    if kind == "safe_regex":
        return re2.fullmatch(matcher.safe_regex.regex, text)
    value: str = getattr(matcher, kind) if kind in ("exact", "prefix", "suffix", "contains") else ""
    if matcher.ignore_case:
        value, text = value.lower(), text.lower()
    match kind:
        case "exact":
            return text == value
        case "prefix":
            return text.startswith(value)
        case "suffix":
            return text.endswith(value)
        case "contains":
            return value in text
    return False


def header_matches(matcher: v3.HeaderMatcher, values: Sequence[str]) -> bool:
    """Whether the values of a header match. Without a value only what asks for its absence does."""
    if matcher.WhichOneof("header_match_specifier") in (None, "present_match"):
        required = matcher.present_match or not matcher.HasField("present_match")
        present = bool(values) or matcher.treat_missing_header_as_empty
        return (present == required) != matcher.invert_match
    if not values and not matcher.treat_missing_header_as_empty:
        return False
    return text_matches(matcher.string_match, ",".join(values)) != matcher.invert_match


def text_described(matcher: v3.StringMatcher) -> str:
    """`= a`, or `matches a.*`."""
    kind = matcher.WhichOneof("match_pattern") or "exact"
    if kind == "safe_regex":
        return f"matches {shortened(matcher.safe_regex.regex)}"
    return f"{'=' if kind == 'exact' else kind} {getattr(matcher, kind)}"


def shortened(expression: str) -> str:
    """A regular expression as descriptions show it."""
    return expression if len(expression) <= SHOWN_CHARACTERS else f"{expression[: SHOWN_CHARACTERS - 1]}…"
