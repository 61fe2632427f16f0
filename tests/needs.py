"""What a test needs besides Python, as marks such as `envoy`, `valkey`, `processes`, `terminal`, `browser`.

A test needs what its module imports, and what the modules of its fixtures import, directly or indirectly.
So no test has to say it, and `pytest -m "not envoy"` and the like select by it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

NEEDS: Mapping[str, str] = {
    "tests.cli.conftest": "processes",
    "tests.cli.joining": "envoy",
    "tests.control_plane.telemetry.ingest.otlp_port": "processes",
    "tests.deploy.compose_file": "network",
    "tests.deploy.containers": "network",
    "tests.deploy.network": "network",
    "tests.envoy.harness": "envoy",
    "tests.envoy.xds_lab": "envoy",
    "tests.fakes.app_process": "processes",
    "tests.fakes.valkey": "valkey",
    "tests.scale.plane": "processes",
    "tests.services.processes": "processes",
    "tests.sidecar.conftest": "envoy",
    "tests.tui.pilot": "terminal",
    "tests.tui.web.browser": "browser",
}
"""Modules that start what a test needs, and the mark."""

MARKS = {
    "envoy": "starts real Envoys",
    "valkey": "starts a real Valkey",
    "processes": "starts other processes, such as a control plane or a service",
    "terminal": "runs the dashboard in a simulated terminal",
    "browser": "starts a headless Chromium",
    "network": "makes network namespaces, as root",
    "long": "runs for minutes; only in `make test-long`",
}


def register(config: pytest.Config) -> None:
    """Register the marks."""
    for name, meaning in MARKS.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")


def mark(items: list[pytest.Item]) -> None:
    """Mark each test with what it needs, and move those that need nothing behind all others."""
    for item in items:
        for need in sorted({need for module in _modules(item) for need in _needs(module)}):
            item.add_marker(need)
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in MARKS))


def _modules(item: pytest.Item) -> Iterator[str]:
    """The test's module, and those that define its fixtures."""
    if isinstance(item, pytest.Function):
        yield item.module.__name__
        for definitions in item._fixtureinfo.name2fixturedefs.values():  # the only list there is
            yield from (definition.func.__module__ for definition in definitions)


@cache
def _needs(module: str) -> frozenset[str]:
    """What a module needs, by what it imports."""
    needs: set[str] = set()
    seen, waiting = {module}, [module]
    while waiting:
        name = waiting.pop()
        if name in NEEDS:
            needs.add(NEEDS[name])
        new = {imported for imported in _imports(name) if imported not in seen}
        seen |= new
        waiting += new
    return frozenset(needs)


def _imports(module: str) -> Iterator[str]:
    """Modules of tests that a module imports."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if file is None or not module.startswith("tests"):
        return
    for node in ast.walk(ast.parse(Path(file).read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("tests"):
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
