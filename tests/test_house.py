"""The rules of the house that no linter knows: where I/O may be, how long a file is, what it is called."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PRODUCT = ("cli", "control_plane", "sidecar", "services", "tui", "deploy", "dashboards")
FILES = sorted(path for part in PRODUCT for path in (ROOT / part).rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

_SHELL = ["server", "client", "push_queue", "redis", "embedded", "process", "health", "capture", "app"]
IO_FILES = frozenset(f"{name}.py" for name in [*_SHELL, "main", "__main__"])
"""The files that talk to the outside. All of cli/ does too, and the services, which are applications."""

IO_MODULES = frozenset(
    ["grpc", "redis", "aiohttp", "asyncio", "subprocess", "socket", "random", "secrets", "sqlalchemy"]
)
IO_CALLS = frozenset(
    {
        "time.time",
        "time.monotonic",
        "time.perf_counter",
        "time.sleep",
        "os.environ",
        "os.getenv",
        "os.urandom",
    }
    | {"datetime.now", "datetime.utcnow", "uuid.uuid4"}
)
WORDS = ("manager", "helper", "util", "common", "handler", "processor")
LINES, FUNCTION_LINES = 400, 50


def tree(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def imported(module: ast.Module) -> Iterator[str]:
    """Top-level packages that are imported when the module runs; imports for types alone do not count."""
    skipped = {
        id(inner)
        for node in ast.walk(module)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(module):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (one.name.split(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


def is_shell(name: str) -> bool:
    """Whether the file may do I/O by where it is or what it is called."""
    return name.startswith(("cli/", "services/")) or Path(name).name in IO_FILES


@pytest.mark.parametrize("name", [one for one in NAMES if not is_shell(one)])
def test_only_the_shell_does_io(name: str) -> None:
    module = tree(name)
    assert not IO_MODULES.intersection(imported(module))
    used = {ast.unparse(node) for node in ast.walk(module) if isinstance(node, ast.Attribute)}
    assert not IO_CALLS.intersection(used)
    named = {
        f"{node.module}.{one.name}"
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    }
    assert not IO_CALLS.intersection(named)


@pytest.mark.parametrize("name", NAMES)
def test_files_are_short_documented_and_well_named(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    module = tree(name)
    if text.strip():
        assert ast.get_docstring(module), "no docstring says what the module is for"
    classes = [node.name for node in ast.walk(module) if isinstance(node, ast.ClassDef)]
    for called in (Path(name).stem, *classes):
        assert not [word for word in WORDS if word in called.lower()], called


@pytest.mark.parametrize("name", NAMES)
def test_functions_are_short(name: str) -> None:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = lines_of(node) - (lines_of(node.body[0]) if ast.get_docstring(node) else 0)
            assert length <= FUNCTION_LINES, f"{node.name} has {length} lines without its docstring"


def lines_of(node: ast.stmt) -> int:
    """How many lines a statement has."""
    return (node.end_lineno or node.lineno) - node.lineno + 1
