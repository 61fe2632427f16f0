"""One class name has one meaning.

A name may stand twice only where one module imports the other: then it is one idea seen from two layers, such
as a document and its wire format.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations

from checks.source import Problem, SourceFile


def check(files: Iterable[SourceFile]) -> Iterator[Problem]:
    """Classes at module level whose name another module uses for something else."""
    defined: dict[str, list[tuple[SourceFile, int]]] = defaultdict(list)
    for file in files:
        for node in file.tree.body:
            if isinstance(node, ast.ClassDef):
                defined[node.name].append((file, node.lineno))
    for name, places in sorted(defined.items()):
        for (first, line), (second, other_line) in combinations(places, 2):
            if not (_imports(first, second, name) or _imports(second, first, name)):
                yield Problem(second.path, other_line, f"class {name} is also defined in {first.path}:{line}")


def _imports(file: SourceFile, other: SourceFile, name: str) -> bool:
    """Whether `file` imports the module of `other`, or the class from it."""
    module = "meshwright." + other.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    package, _, last = module.rpartition(".")
    for node in file.nodes:
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if (node.module == module and name in names) or (node.module == package and last in names):
                return True
    return False
