"""Validation errors in words: where, what, why, and what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from meshwright.control_plane.policies.model_fields import field_names, model_at

_NAME_RULE = "lower-case letters, digits and '-' are allowed, at most 63, a letter or digit at both ends"
_PATTERN_RULES = (  # the first characters of a pattern, the rule in words
    ("^[a-z0-9]([-a-z0-9]{0,61}", _NAME_RULE),
    ("^([a-z0-9]([-a-z0-9]{0,61}", _NAME_RULE),
    ("^(\\*\\.)?", "a host name in lower case is expected, with '*.' before it for all below it"),
    ("^[a-z0-9]([-a-z0-9]*", "a host name in lower case is expected"),
    ("^[A-Za-z0-9!#", "letters, digits and !#$%&'*+-.^_`|~ are allowed"),
    ("^[^\\x00", "control characters are not allowed: take them out"),
    ("^[A-Za-z0-9]([-A-Za-z0-9_./]", "letters, digits and -_./ are allowed, at most 63"),
    ("^([A-Za-z0-9]([-A-Za-z0-9_.]", "letters, digits and -_. are allowed, at most 63"),
)


def format_path(path: Iterable[str | int]) -> str:
    """A path as users write it: `spec.rules[0].name`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def format_value(value: Any) -> str:
    """A value of a document, shortened for a message."""
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def closest_match(word: str, choices: Iterable[str]) -> str:
    """The choice that looks most like a word, regardless of case; empty when none does."""
    folded = {choice.lower(): choice for choice in choices}
    near = get_close_matches(word.lower(), folded, n=1)
    return folded[near[0]] if near else ""


def unknown_field_message(kind: type[BaseModel], path: Sequence[str | int]) -> str:
    """Words for a field that is not there, at its path."""
    model = model_at(kind, path[:-1])
    names = field_names(model) if model else []
    near = closest_match(str(path[-1]), names)
    advice = f"did you mean {near}?" if near else f"known here: {', '.join(names)}"
    return f"{format_path(path)}: unknown field: {advice}"


def _literal(error: ErrorDetails) -> str:
    expected = str(error["ctx"]["expected"])
    given = error["input"]
    words = expected.replace(" or ", ", ").replace("'", "").split(", ")
    near = closest_match(given, words) if isinstance(given, str) and len(words) > 1 else ""
    advice = f"did you mean {near}? Allowed: {expected}" if near else f"write {expected}"
    return f"{format_value(given)} is not allowed: {advice}"


def _pattern(error: ErrorDetails) -> str:
    pattern = str(error["ctx"]["pattern"])
    rule = next(
        (words for start, words in _PATTERN_RULES if pattern.startswith(start)), f"it must match {pattern}"
    )
    return f"{format_value(error['input'])} is not allowed: {rule}"


def _expected(what: str, advice: str) -> Callable[[ErrorDetails], str]:
    return lambda error: f"{what} is expected, not {format_value(error['input'])}: {advice}"


def _length(error: ErrorDetails) -> str:
    context: Mapping[str, Any] = error["ctx"]
    count = context.get("actual_length", len(error["input"]) if isinstance(error["input"], str) else "")
    unit = "characters" if isinstance(error["input"], str) else "entries"
    if "min_length" in context:
        return f"{count} {unit} are too few: give at least {context['min_length']}"
    return f"{count} {unit} are too many: at most {context['max_length']} are allowed"


def _other(error: ErrorDetails) -> str:
    return f"{error['msg']}: correct it"


_NUMBER = _expected("a whole number", "write one without quotes")
_MESSAGES: dict[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda _: "missing: add it",
    "literal_error": _literal,
    "string_pattern_mismatch": _pattern,
    "string_type": _expected("text", "quote it if it is meant as text"),
    "int_type": _NUMBER,
    "int_from_float": _NUMBER,
    "int_parsing": _NUMBER,
    "float_type": _expected("a number", "write one without quotes"),
    "tuple_type": _expected("a list", "write '- ' before each entry"),
    "dict_type": _expected("a mapping", "write 'name: value' lines below it"),
    "model_type": _expected("a mapping", "write 'name: value' lines below it"),
    "greater_than_equal": lambda error: (
        f"{format_value(error['input'])} is too low: give at least {error['ctx']['ge']}"
    ),
    "less_than_equal": lambda error: (
        f"{format_value(error['input'])} is too high: give at most {error['ctx']['le']}"
    ),
    "too_short": _length,
    "too_long": _length,
    "string_too_short": _length,
    "string_too_long": _length,
    "value_error": lambda error: str(error["ctx"]["error"]),
}


def distinct_errors(error: ValidationError) -> list[ErrorDetails]:
    """What is wrong, each thing once: a list is not called too short because entries of it are wrong."""

    def echo(one: ErrorDetails) -> bool:
        return one["type"] == "too_short" and len(one["input"]) >= one["ctx"]["min_length"]

    return [one for one in error.errors(include_url=False) if not echo(one)]


def error_message(kind: type[BaseModel], error: ErrorDetails) -> str:
    """One validation error of a kind in words."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return unknown_field_message(kind, path)
    words = _MESSAGES.get(error["type"], _other)
    return f"{format_path(path) or 'the document'}: {words(error)}"
