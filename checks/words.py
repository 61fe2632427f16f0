"""Names and sentences use the field's words (docs/glossary.md).

The lists hold words that say nothing about what they name, and phrases that are not idiomatic English. They
keep them from coming back.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator

from checks.source import Problem, SourceFile

ODD_NAMES = frozenset(
    {
        "asked",
        "found",
        "heard",
        "kept",
        "known",
        "law",
        "one",
        "own",
        "said",
        "those",
        "told",
        "wanted",
        "way",
        "whole",
    }
)
"""Identifiers that name nothing: use the noun of what it is (record, request, result, entry, hop, limit)."""

DRAWERS = ("manager", "helper", "util", "common", "misc")
"""Modules and classes of these names collect what has no place."""

TERMS = ("http_connection_manager",)
"""Terms of Envoy that contain such a word."""

ODD_PHRASES = re.compile(
    r"\b(afar|anew|befall\w*|ere|fares|for ever|hang on|has told|hitherto|in the stead|in vain|is no name|"
    r"is told|is well|of late|thereof|told by|turned away|was told|were told|wherefrom|whom)\b",
    re.IGNORECASE,
)


def check(files: Iterable[SourceFile]) -> Iterator[Problem]:
    """Odd identifiers, drawers and odd phrases in Python files."""
    for file in files:
        yield from _drawers(file)
        for line, name in _defined_names(file.nodes):
            if name in ODD_NAMES:
                yield Problem(file.path, line, f"{name!r} says nothing about what it names")
        yield from check_text(file.path, file.text)


def check_text(path: str, text: str) -> Iterator[Problem]:
    """Odd phrases in any text."""
    for number, line in enumerate(text.splitlines(), 1):
        match = ODD_PHRASES.search(line)
        if match and not path.startswith(("checks/", "tests/checks/")):
            yield Problem(path, number, f"{match[0]!r} is not idiomatic: say it in plain English")


def _drawers(file: SourceFile) -> Iterator[Problem]:
    stem = file.path.rsplit("/", 1)[-1].removesuffix(".py")
    classes = [(node.lineno, node.name) for node in file.nodes if isinstance(node, ast.ClassDef)]
    for line, name in ((1, stem), *classes):
        if name not in TERMS and any(word in name.lower() for word in DRAWERS):
            yield Problem(file.path, line, f"{name!r} is a drawer: name it after what it holds")


def _defined_names(nodes: Iterable[ast.AST]) -> Iterator[tuple[int, str]]:
    """Names that a file gives: variables, parameters, functions, classes, attributes and imports."""
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.name.strip("_")
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg.strip("_")
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, (node.id if isinstance(node, ast.Name) else node.attr).strip("_")
        elif isinstance(node, ast.alias) and node.asname:
            yield node.lineno, node.asname.strip("_")
        elif isinstance(node, ast.MatchAs) and node.name:
            yield node.lineno, node.name
