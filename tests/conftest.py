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
from xdist.scheduler import LoadFileScheduling

from tests import needs

FOLDERS = ("tests/cli/demo/",)
"""Folders whose tests share a mesh that is expensive to start."""

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


class FileOrFolder(LoadFileScheduling):  # type: ignore[misc]  # has no types
    """Gives a worker whole files, and of FOLDERS all files."""

    def _split_scope(self, nodeid: str) -> str:
        return next((folder for folder in FOLDERS if nodeid.startswith(folder)), super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FileOrFolder:
    """How pytest-xdist spreads the tests."""
    return FileOrFolder(config, log)
