"""The Python files that the checks read, each read, parsed and walked once."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

PRODUCT = (
    "cli",
    "control_plane",
    "sidecar",
    "services",
    "tui",
    "dashboards",
    "deploy",
    "meshwright",
    "checks",
)
"""Folders of the product; `tests` and `bench` are held to the rules on names alone."""

GENERATED = ("_pb2.py", "v3.pyi")
"""Endings of files that a generator writes."""


@dataclass(frozen=True)
class Problem:
    """A broken rule, and where."""

    path: str
    line: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.message}"


@dataclass(frozen=True)
class SourceFile:
    """A Python file; `path` is relative to the repository's root, with slashes."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The file's syntax tree. Raises SyntaxError."""
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree, from the outside in. Raises SyntaxError."""
        return tuple(ast.walk(self.tree))

    @cached_property
    def lines(self) -> list[str]:
        """The file's lines."""
        return self.text.splitlines()


def read_tree(root: Path, folders: tuple[str, ...] = PRODUCT) -> list[SourceFile]:
    """Every Python file of `folders`, sorted by path. Links and generated files are left out."""
    return [
        SourceFile(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))
        for folder in folders
        for path in _python_files(root / folder)
    ]


def _python_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.glob("**/*.py")):
        inside_link = any(parent.is_symlink() for parent in (path, *path.parents))
        if not inside_link and not path.name.endswith(GENERATED):
            yield path
