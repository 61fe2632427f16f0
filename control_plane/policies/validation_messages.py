"""Validation errors as messages for people: which field, what is wrong, what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from meshwright.control_plane.policies import unsupported
from meshwright.control_plane.policies.model_fields import field_names, model_at

_NAME_RULE = "use at most 63 lower-case letters, digits and '-', with a letter or digit at both ends"
_SUBDOMAIN_RULE = (
    "use lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each part"
)
_PATTERN_RULES = (  # the beginning of a pattern, and its rule
    ("^[a-z0-9]([-a-z0-9]{0,61}", _NAME_RULE),
    ("^([a-z0-9]([-a-z0-9]{0,61}", _NAME_RULE),
    ("^(?:[a-z0-9](", _SUBDOMAIN_RULE),
    ("^((?:[a-z0-9](", _SUBDOMAIN_RULE),
    ("^(\\*|[a-zA-Z]", "write scheme, host and port alone, such as https://*.example.com:8443, or *"),
    ("^(\\*\\.)?", "use a lower-case host name, with '*.' before it for all its subdomains"),
    ("^[a-z0-9]([-a-z0-9]*", "use a lower-case host name"),
    ("^[A-Za-z0-9!#", "use letters, digits and !#$%&'*+-.^_`|~"),
    ("^[^\\x00", "remove control characters"),
    ("^[A-Za-z0-9]([-A-Za-z0-9_./]", "use at most 63 letters, digits and -_./"),
    ("^([A-Za-z0-9]([-A-Za-z0-9_.]", "use at most 63 letters, digits and -_."),
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
    """The choice most similar to a word, ignoring case; empty when there is none."""
    by_lower_case = {choice.lower(): choice for choice in choices}
    matches = get_close_matches(word.lower(), by_lower_case, n=1)
    return by_lower_case[matches[0]] if matches else ""


def suggestion(word: str, choices: Iterable[str], otherwise: str) -> str:
    """What to do about an unknown word: `did you mean CHOICE?`, or `otherwise` when no choice is similar."""
    match = closest_match(word, choices)
    return f"did you mean {match}?" if match else otherwise


def unknown_field_message(kind: type[BaseModel], path: Sequence[str | int]) -> str:
    """The message for a field that does not exist at its path."""
    if instead := unsupported.FIELDS.get(str(path[-1])):
        return f"{format_path(path)}: not supported: {instead}"
    model = model_at(kind, path[:-1])
    names = field_names(model) if model else []
    advice = suggestion(str(path[-1]), names, f"the fields here are {', '.join(names)}")
    return f"{format_path(path)}: unknown field: {advice}"


def _literal(error: ErrorDetails) -> str:
    expected = str(error["ctx"]["expected"])
    value = error["input"]
    if isinstance(value, str) and value in unsupported.VALUES:
        return f"{value!r} is not supported: {unsupported.VALUES[value]}"
    choices = expected.replace(" or ", ", ").replace("'", "").split(", ")
    match = closest_match(value, choices) if isinstance(value, str) and len(choices) > 1 else ""
    advice = f"did you mean {match}? Allowed: {expected}" if match else f"use {expected}"
    return f"{format_value(value)} is not allowed: {advice}"


def _pattern(error: ErrorDetails) -> str:
    pattern = str(error["ctx"]["pattern"])
    rule = next(
        (rule for start, rule in _PATTERN_RULES if pattern.startswith(start)), f"it must match {pattern}"
    )
    return f"{format_value(error['input'])} is not allowed: {rule}"


def _expected(what: str, advice: str) -> Callable[[ErrorDetails], str]:
    return lambda error: f"expected {what}, got {format_value(error['input'])}: {advice}"


def _length(error: ErrorDetails) -> str:
    context: Mapping[str, Any] = error["ctx"]
    count = context.get("actual_length", len(error["input"]) if isinstance(error["input"], str) else "")
    unit = "characters" if isinstance(error["input"], str) else "entries"
    if "min_length" in context:
        return f"{count} {unit} are too few: use at least {context['min_length']}"
    return f"{count} {unit} are too many: use at most {context['max_length']}"


def _other(error: ErrorDetails) -> str:
    return f"{error['msg']}: correct it"


_INTEGER = _expected("a whole number", "write one without quotes")
_MESSAGES: dict[str, Callable[[ErrorDetails], str]] = {
    "missing": lambda _: "missing: add it",
    "literal_error": _literal,
    "string_pattern_mismatch": _pattern,
    "string_type": _expected("text", "quote it if it is meant as text"),
    "int_type": _INTEGER,
    "int_from_float": _INTEGER,
    "int_parsing": _INTEGER,
    "float_type": _expected("a number", "write one without quotes"),
    "tuple_type": _expected("a list", "write '- ' before each entry"),
    "dict_type": _expected("a mapping", "write 'name: value' lines below it"),
    "model_type": _expected("a mapping", "write 'name: value' lines below it"),
    "greater_than_equal": lambda error: (
        f"{format_value(error['input'])} is too low: use at least {error['ctx']['ge']}"
    ),
    "less_than_equal": lambda error: (
        f"{format_value(error['input'])} is too high: use at most {error['ctx']['le']}"
    ),
    "too_short": _length,
    "too_long": _length,
    "string_too_short": _length,
    "string_too_long": _length,
    "value_error": lambda error: str(error["ctx"]["error"]),
}


def distinct_errors(error: ValidationError) -> list[ErrorDetails]:
    """Each problem once: a list is not reported as too short because some of its entries are invalid."""

    def is_echo(details: ErrorDetails) -> bool:
        return details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]

    return [details for details in error.errors(include_url=False) if not is_echo(details)]


def error_message(kind: type[BaseModel], error: ErrorDetails) -> str:
    """The message for one validation error of a kind."""
    path = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return unknown_field_message(kind, path)
    describe = _MESSAGES.get(error["type"], _other)
    return f"{format_path(path) or 'the document'}: {describe(error)}"
