"""Istio takes the first rule that matches, a route here the most specific match.

Where a later rule has a more specific match than an earlier one, the earlier rule gets one more: what both
match. It is at least as specific as the later one, and between equals the earlier rule wins.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from meshwright.cli.convert.documents import Document
from meshwright.cli.convert.reading import Value
from meshwright.control_plane.policies import re2
from meshwright.control_plane.policies.httproute.matches import HTTPRouteMatch, Rank, rank
from meshwright.control_plane.policies.httproute.parents import MAX_MATCHES

_LITERAL_START = re.compile(r"(?:(?:[^\\.^$*+?{}\[\]()]|\\[^a-zA-Z0-9])(?![*?{]))*")
"""Characters that stand for themselves, unless they may be missing."""


@dataclass(frozen=True, slots=True)
class SourcedMatch:
    """A match, where it comes from, and the match of that rule before it was narrowed."""

    source: Value
    match: Document
    original: Document


@dataclass(slots=True)
class RuleMatches:
    """The matches of one rule; `added` are those that keep it before later rules."""

    matches: list[SourcedMatch]
    added: list[SourcedMatch] = field(default_factory=list)


class UnclearError(Exception):
    """Nobody can say what two matches have in common, since one has a regular expression."""


def keep_order(rules: list[RuleMatches]) -> None:
    """Remove matches that an earlier rule hides, and add those that keep the rules in their order."""
    for position, rule in enumerate(rules):
        rule.matches = [match for match in rule.matches if not _is_hidden(match, rules[:position])]
        for match in rule.matches:
            _put_before(match, rules[:position])


def _is_hidden(entry: SourcedMatch, earlier: list[RuleMatches]) -> bool:
    for other in (match for rule in earlier for match in rule.matches):
        try:
            hidden = intersection(other.match, entry.match) == _normal(entry.match)
        except UnclearError:
            continue
        if hidden:
            line = other.source.position.line
            entry.source.note(f"never matches: the rule at line {line} comes first and matches all of it")
            return True
    return False


def _put_before(entry: SourcedMatch, earlier: list[RuleMatches]) -> None:
    """Have every earlier rule win over this match where both match."""
    for position, rule in enumerate(earlier):
        for other in rule.matches:
            if match_rank(entry.match) >= match_rank(other.match):
                continue
            try:
                both = intersection(other.match, entry.match)
            except UnclearError:
                line = other.source.position.line
                entry.source.problem(
                    f"wins over the rule at line {line} here, since it is more specific, and has a regular "
                    "expression: make the two exclude each other"
                )
                continue
            if both is None or any(both == match.match for match in (*rule.matches, *rule.added)):
                continue
            narrowed = SourcedMatch(other.source, both, other.original)
            rule.added.append(narrowed)
            if sum(len(each.added) for each in earlier) > MAX_MATCHES:
                entry.source.problem("and earlier rules overlap too often to keep their order: simplify them")
                return
            _put_before(narrowed, earlier[:position])


def match_rank(match: Document) -> Rank:
    """The position of a match among others; the lowest is tried first."""
    return rank(HTTPRouteMatch.model_validate(match))


def intersection(first: Document, second: Document) -> Document | None:
    """The match of what both match; None if that is nothing. Raises UnclearError."""
    result: Document = {}
    path = _both_paths(first.get("path"), second.get("path"))
    if path is False:
        return None
    if path:
        result["path"] = path
    for field_name in ("headers", "queryParams"):
        values = _both_values(first.get(field_name, []), second.get(field_name, []))
        if values is None:
            return None
        if values:
            result[field_name] = values
    methods = {match["method"] for match in (first, second) if "method" in match}
    if len(methods) > 1:
        return None
    return result | ({"method": methods.pop()} if methods else {})


def _both_paths(first: Document | None, second: Document | None) -> Document | bool | None:
    """The narrower path; None for every path, False if no path is in both."""
    if first == second or _is_every_path(second):
        return None if _is_every_path(first) else first
    if first is None or second is None or _is_every_path(first):
        return second
    kinds = {first["type"], second["type"]}
    if "RegularExpression" in kinds:
        exact, other = (first, second) if first["type"] == "Exact" else (second, first)
        if exact["type"] != "Exact":
            return _both_patterns(first, second)
        return exact if re2.fullmatch(other["value"], exact["value"]) else False
    if kinds == {"Exact"}:
        return False
    for wide, narrow in ((first, second), (second, first)):
        inside = narrow["value"] == wide["value"] or narrow["value"].startswith(wide["value"] + "/")
        if wide["type"] == "PathPrefix" and inside and (narrow["type"] == "Exact" or kinds == {"PathPrefix"}):
            return narrow
    return False


def _both_patterns(first: Document, second: Document) -> bool:
    """False if two paths, of which one is a regular expression at least, begin differently."""
    starts = [
        _literal_start(path["value"]) if path["type"] == "RegularExpression" else path["value"].lower()
        for path in (first, second)
    ]
    if starts[0].startswith(starts[1]) or starts[1].startswith(starts[0]):
        raise UnclearError
    return False


def _literal_start(pattern: str) -> str:
    """What every text that a regular expression matches begins with, in lower case; empty if unknown."""
    if "|" in pattern:
        return ""
    literal = _LITERAL_START.match(pattern.removeprefix("(?i)"))
    return re.sub(r"\\(.)", r"\1", literal.group()).lower() if literal else ""


def _is_every_path(path: Document | None) -> bool:
    return path is None or (path["type"] == "PathPrefix" and path["value"] == "/")


def _both_values(first: list[Document], second: list[Document]) -> list[Document] | None:
    """The conditions of both, sorted by name; None if they exclude each other."""
    result = {item["name"].lower(): item for item in first}
    for item in second:
        name = item["name"].lower()
        other = result.setdefault(name, item)
        if other == item:
            continue
        exact = [each for each in (other, item) if "type" not in each]
        if len(exact) == 2:
            return None
        if not exact:
            raise UnclearError
        pattern = item if exact[0] is other else other
        if not re2.fullmatch(pattern["value"], exact[0]["value"]):
            return None
        result[name] = exact[0]
    return [result[name] for name in sorted(result)]


def _normal(match: Document) -> Document:
    """The match as `intersection` writes it."""
    return intersection(match, match) or {}
