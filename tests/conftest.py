"""How tests are spread over workers, and what their children inherit.

Files that need processes come first, and pure tests fill the gaps. pytest-xdist gives each worker whole
files in the order of collection (`--no-loadscope-reorder`), so the meshes of a file start once and all
workers end at about the same time. There are five workers on two cores, because tests with real processes
wait for more than half of their time.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from tests import needs

settings.register_profile("busy", deadline=None)
settings.load_profile("busy")
"""No example has a deadline: a busy machine is not a failure."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marks, and let children receive interrupts, which a background shell makes them ignore."""
    needs.register(config)
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests with what they need; pure tests go last."""
    needs.mark(items)
