"""`python -m tests.suite ARGS`: pytest with these arguments, and then what failed once more, alone.

A busy machine can make a test late that is right. So if a few tests fail beside others, just these run again,
one after another in one process. Those that pass now are listed as flaky, and the suite passes; a test that
fails again fails it. Many failures, a crashed worker, and files that cannot be collected fail it at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

MOST = 5
"""Failed tests that may run again. More have a cause in common, which a second run would only hide."""


class Outcomes:
    """A plugin that keeps which tests failed, in any phase, which passed, and whether a worker crashed."""

    def __init__(self) -> None:
        self.failed: dict[str, None] = {}
        self.passed: set[str] = set()
        self.crashed = False
        self.uncollected = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome of one phase of a test."""
        if report.failed:
            self.failed[report.nodeid] = None
        elif report.passed and report.when == "call":
            self.passed.add(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep that a file could not be collected."""
        self.uncollected |= report.failed

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str) -> None:
        """Keep that a worker of pytest-xdist ended while it ran a test; pytest-xdist reports which."""
        self.crashed = True

    def may_run_again(self, code: int) -> bool:
        """Whether a run that ended with this exit code deserves a second one of what failed."""
        is_plain = code == pytest.ExitCode.TESTS_FAILED and not self.crashed and not self.uncollected
        return is_plain and 0 < len(self.failed) <= MOST


class Only:
    """A plugin that deselects all tests but some."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = frozenset(names)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the items with the names."""
        config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in self._names])
        items[:] = [item for item in items if item.nodeid in self._names]


def run(arguments: Sequence[str]) -> int:
    """Run pytest, and what failed again. Returns the first exit code, or 0 if all that failed is flaky."""
    first = Outcomes()
    code = int(pytest.main(list(arguments), plugins=[first]))
    if not first.may_run_again(code):
        return code
    names = tuple(first.failed)
    _say("", f"{len(names)} failed beside others: again, alone", *names)
    again = Outcomes()
    # The last -n counts, and other options of pytest-xdist mean nothing without workers.
    pytest.main([*arguments, "-n", "0"], plugins=[again, Only(names)])
    flaky = [name for name in names if name in again.passed and name not in again.failed]
    _say("", *(f"flaky: {name}: failed beside others, passed alone" for name in flaky))
    _say(*(f"failed twice: {name}" for name in names if name not in flaky))
    return 0 if len(flaky) == len(names) else code


def _say(*lines: str) -> None:
    for line in lines:
        sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
