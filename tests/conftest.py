"""How tests are spread over workers, and what their children inherit.

Files that need processes come first, quick unit tests where a worker waits.
pytest-xdist gives each worker whole files, in the order of collection (`--no-loadscope-reorder`), so that
the meshes of a file are started once, and all workers end at about the same time. There are three of them
on two cores, for tests with real processes wait for more than a third of their time.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
"""No example has a time to keep to: what else the machine does is no fault."""


def pytest_configure() -> None:
    """Let children hear an interrupt: a shell has what it runs in its background ignore it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move unit tests behind all others; otherwise the order stays."""
    items.sort(key=lambda item: "tests/unit/" in item.nodeid)
