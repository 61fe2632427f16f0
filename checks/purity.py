"""Pure packages do no I/O and read no clock, randomness or environment.

Purity is a property of packages, not of file names: `PURE` is the whole list.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

from checks.source import Problem, SourceFile

PURE = (
    "cli/convert/consul/",
    "cli/convert/istio/",
    "cli/convert/kuma/",
    "cli/convert/conversion.py",
    "cli/convert/documents.py",
    "cli/convert/durations.py",
    "cli/convert/fields.py",
    "cli/convert/reading.py",
    "control_plane/core/",
    "control_plane/explain/",
    "control_plane/policies/",
    "control_plane/moments/codec.py",
    "control_plane/moments/retention.py",
    "control_plane/envoy/v3.py",
    "control_plane/envoy/messages.py",
    "control_plane/envoy/codec.py",
    "control_plane/xds/protocol/",
    "control_plane/push/judge.py",
    "control_plane/push/observer.py",
    "control_plane/push/step.py",
    "control_plane/telemetry/topology/",
    "control_plane/telemetry/traces/",
    "control_plane/telemetry/requests/",
    "control_plane/status/lint/",
    "control_plane/verification/bootstrap.py",
    "control_plane/verification/candidates.py",
    "control_plane/verification/scratch_node.py",
    "sidecar/lifecycle.py",
    "sidecar/bootstrap/",
    "tui/graph/",
)
"""Folders and files that are pure, with each service's `domain.py`."""

IO_MODULES = frozenset(
    {
        "aiohttp",
        "asyncio",
        "grpc",
        "http",
        "random",
        "redis",
        "requests",
        "secrets",
        "socket",
        "sqlalchemy",
        "subprocess",
        "threading",
        "urllib",
    }
)

IO_CALLS = frozenset(
    {
        "time.time",
        "time.time_ns",
        "time.monotonic",
        "time.perf_counter",
        "time.sleep",
        "os.environ",
        "os.getenv",
        "os.urandom",
        "datetime.now",
        "datetime.utcnow",
        "date.today",
        "uuid.uuid4",
    }
)

SEEDED = frozenset(["random", "random.Random"])
"""A generator that the caller has seeded is a value like others: `from random import Random`."""


def is_pure(path: str) -> bool:
    """Whether the file belongs to a pure package."""
    return path.startswith(PURE) or (path.startswith("services/") and path.endswith("/domain.py"))


def check(files: Iterable[SourceFile]) -> Iterator[Problem]:
    """Imports of I/O modules, and uses of clock, randomness and environment, in pure packages."""
    for file in files:
        if is_pure(file.path):
            yield from _problems(file)


def _problems(file: SourceFile) -> Iterator[Problem]:
    for node in file.nodes:
        for name in _imported(node):
            if name.split(".")[0] in IO_MODULES or name in IO_CALLS:
                yield Problem(
                    file.path, _line(node), f"{name} is imported in a pure package: pass the value in"
                )
        if isinstance(node, ast.Attribute) and ast.unparse(node) in IO_CALLS:
            yield Problem(file.path, node.lineno, f"{ast.unparse(node)} in a pure package: pass the value in")


def _imported(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        names = {f"{node.module}.{alias.name}" for alias in node.names}
        yield from names - SEEDED
        if not names <= SEEDED:
            yield node.module


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 1)
