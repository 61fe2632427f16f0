"""`?filter=`: Consul's filter expressions, applied to the entries of an answer.

The grammar is that of Consul's documentation ("Filtering"): selectors such as `Service.Meta.version`, the
operators `==`, `!=`, `in`, `contains`, `is empty` and `matches` with their negations, `and`, `or`, `not` and
parentheses. An expression that is not understood is refused: an answer that ignored it would be wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import re2

MAX_LENGTH = 2048
"""Characters of an expression."""

MAX_DEPTH = 32
"""Levels of parentheses and `not`."""

_REGEX_MEMORY = 1 << 20
"""Bytes for a compiled `matches`."""

Entry = Mapping[str, Any]
Predicate = Callable[[Entry], bool]
Test = Callable[[Any], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<quoted>"(?:[^"\\]|\\.)*"|`[^`]*`)|(?P<symbol>==|!=|[()])"""
    r"""|(?P<word>(?:[^\s"`()=!\[\]]|\["[^"\]]*"\])+))"""
)
_INDEX = re.compile(r'\["([^"\]]*)"\]')
_KEYWORDS = ("and", "or", "not", "in", "is", "empty", "contains", "matches")


class FilterExpression:
    """A parsed expression. `sample` is an entry with every field, so that a wrong selector is an error."""

    def __init__(self, text: str, sample: Entry) -> None:
        """Raises ValueError with the reason and the place."""
        if len(text) > MAX_LENGTH:
            raise ValueError(f"filter: {len(text)} characters, above {MAX_LENGTH}")
        self._matches = _Parser(text, sample).parse()

    def select(self, entries: Iterable[Entry]) -> list[Entry]:
        """The entries that match."""
        return [entry for entry in entries if self._matches(entry)]


class _Parser:
    def __init__(self, text: str, sample: Entry) -> None:
        self._tokens = _tokens(text)
        self._sample = sample
        self._at = 0
        self._depth = 0

    def parse(self) -> Predicate:
        predicate = self._any_of()
        if self._peek():
            raise self._error("an operator")
        return predicate

    def _any_of(self) -> Predicate:
        terms = [self._all_of()]
        while self._accept("or"):
            terms.append(self._all_of())
        return terms[0] if len(terms) == 1 else lambda entry: any(term(entry) for term in terms)

    def _all_of(self) -> Predicate:
        terms = [self._term()]
        while self._accept("and"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else lambda entry: all(term(entry) for term in terms)

    def _term(self) -> Predicate:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ValueError(f"filter: more than {MAX_DEPTH} levels of parentheses")
        try:
            if self._accept("not"):
                inner = self._term()
                return lambda entry: not inner(entry)
            if self._accept("("):
                inner = self._any_of()
                if not self._accept(")"):
                    raise self._error("`)`")
                return inner
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Predicate:
        first = self._operand()
        negated = False
        if self._accept("is"):
            negated = self._accept("not")
            if not self._accept("empty"):
                raise self._error("`empty`")
            return self._test(first, "is empty", "", negated)
        for symbol, is_negated in (("==", False), ("!=", True)):
            if self._accept(symbol):
                return self._test(first, "==", _value(self._operand()), is_negated)
        negated = self._accept("not")
        for operator in ("contains", "matches"):
            if self._accept(operator):
                return self._test(first, operator, _value(self._operand()), negated)
        if self._accept("in"):
            return self._test(self._operand(), "contains", _value(first), negated)
        raise self._error("an operator such as ==, in, contains, matches or `is empty`")

    def _operand(self) -> str:
        token = self._peek()
        if not token or token in ("(", ")", "==", "!=") or token.lower() in _KEYWORDS:
            raise self._error("a selector or a value")
        self._at += 1
        return token

    def _test(self, selector: str, operator: str, value: str, negated: bool) -> Predicate:
        path = _path(selector)
        example = _values(self._sample, path)
        if not example:
            raise ValueError(f'filter: Selector "{selector[:63]}" is not valid')
        test = _operation(operator, value, example[0], selector)

        def matches(entry: Entry) -> bool:
            return any(test(item) for item in _values(entry, path)) is not negated

        return matches

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _accept(self, word: str) -> bool:
        if self._peek().lower() != word:
            return False
        self._at += 1
        return True

    def _error(self, expected: str) -> ValueError:
        after = self._tokens[self._at - 1][:63] if self._at else "the beginning"
        token = self._peek()[:63] or "the end"
        return ValueError(f"filter: expected {expected} after {after}, not {token}")


def _tokens(text: str) -> list[str]:
    tokens, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            raise ValueError(f"filter: character {at + 1}: cannot be read: {stripped[at : at + 16]!r}")
        tokens.append(match[0].strip())
        at = match.end()
    return tokens


def _value(token: str) -> str:
    if token.startswith("`"):
        return token[1:-1]
    return re.sub(r"\\(.)", r"\1", token[1:-1]) if token.startswith('"') else token


def _path(selector: str) -> tuple[str, ...]:
    """`Service.Meta.version`, `Service.Meta["a.b"]` and the JSON pointer `"/Service/Meta/a.b"`."""
    if selector.startswith(('"/', "`/")):
        parts = _value(selector)[1:].split("/")
        return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)
    indexed = _INDEX.findall(selector)
    dotted = _INDEX.sub("", selector).split(".")
    return (*dotted, *indexed)


def _values(value: Any, path: tuple[str, ...]) -> list[Any]:
    """What a path leads to: several values through a list of objects, such as `Checks.Status`."""
    if not path:
        return [value]
    if isinstance(value, list):
        return [item for element in value for item in _values(element, path)]
    if isinstance(value, Mapping) and path[0] in value:
        return _values(value[path[0]], path[1:])
    if isinstance(value, _AnyKey):
        return _values("", path[1:])
    return []


class _AnyKey(dict[str, Any]):
    """In a sample: a map whose keys are the user's."""


def any_key() -> dict[str, Any]:
    """For a sample: a map that has every key."""
    return _AnyKey()


def _operation(operator: str, value: str, example: object, selector: str) -> Test:
    """The test of a value like `example`; raises ValueError if there is none for it."""
    is_collection = isinstance(example, list | Mapping)
    if operator == "is empty" and (is_collection or isinstance(example, str)):
        return lambda item: not item
    if operator == "contains" and (is_collection or isinstance(example, str)):
        return lambda item: value in item
    if operator == "==" and not is_collection:
        return lambda item: _text(item) == value
    if operator == "matches" and isinstance(example, str):
        expression = _regex(value)
        return lambda item: expression.search(str(item)) is not None
    raise ValueError(f"filter: `{operator}` cannot be used with {selector[:63]}")


def _text(item: object) -> str:
    return str(item).lower() if isinstance(item, bool) else str(item)


def _regex(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _REGEX_MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error:
        raise ValueError(f"filter: {pattern[:63]!r} is not a regular expression of RE2") from None
