"""How tests are spread over workers, and what their children inherit.

Files that need processes come first, and pure tests fill the gaps. pytest-xdist gives each worker whole
files in the order of collection (`--no-loadscope-reorder`), so the meshes of a file start once and all
workers end at about the same time. There are four workers on two cores, because tests with real processes
wait for more than a third of their time.
"""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings
from xdist.scheduler import LoadFileScheduling

from tests import needs

WHOLE_EXCHANGE = ("tests/cli/demo/", "tests/deploy/test_compose.py")
"""What starts every service of the exchange. One worker runs all of it, one mesh after the other: an Envoy
needs two instances of inotify, and a user has 128 (fs.inotify.max_user_instances).
"""

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


class Files(LoadFileScheduling):  # type: ignore[misc]  # has no types
    """Gives a worker whole files, and WHOLE_EXCHANGE to one."""

    def _split_scope(self, nodeid: str) -> str:
        return WHOLE_EXCHANGE[0] if nodeid.startswith(WHOLE_EXCHANGE) else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Files:
    """How pytest-xdist spreads the tests."""
    return Files(config, log)
