"""Files and functions stay short, and each module says what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from checks.source import Problem, SourceFile

FILE_LINES = 400
FUNCTION_LINES = 50
"""Lines of a function without its docstring."""


def check(files: Iterable[SourceFile]) -> Iterator[Problem]:
    """Files above FILE_LINES, functions above FUNCTION_LINES, modules without a docstring."""
    for file in files:
        if len(file.lines) > FILE_LINES:
            yield Problem(file.path, FILE_LINES, f"{len(file.lines)} lines: a file has at most {FILE_LINES}")
        if file.text.strip() and not ast.get_docstring(file.tree):
            yield Problem(file.path, 1, "no docstring says what the module is for")
        yield from _long_functions(file)


def _long_functions(file: SourceFile) -> Iterator[Problem]:
    for node in file.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = _lines_of(node.body[0]) if ast.get_docstring(node) else 0
            length = _lines_of(node) - docstring
            if length > FUNCTION_LINES:
                message = f"{node.name} has {length} lines: a function has at most {FUNCTION_LINES}"
                yield Problem(file.path, node.lineno, message)


def _lines_of(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1
