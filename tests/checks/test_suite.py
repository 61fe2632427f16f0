"""What `make test` does with tests that fail: a few run again, alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

ONCE = """
import os, pathlib, pytest

def test_right(): pass

@pytest.mark.parametrize("name", ["a b", "c::d"])
def test_late(name):
    tries = pathlib.Path(f"tries {name}")
    with tries.open("a") as file: file.write("x")
    assert len(tries.read_text()) > 1
"""

TEARDOWN = """
import pytest

@pytest.fixture
def broken():
    yield
    raise ValueError

def test_left_open(broken): pass
"""

MANY = """
import pytest

@pytest.mark.parametrize("number", range(6))
def test_wrong(number):
    with open("tries", "a") as file: file.write("x")
    assert False
"""

CRASH = """
import os

def test_crashes():
    with open("tries", "a") as file: file.write("x")
    os._exit(1)
"""


def suite(folder: Path, source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the suite of one file in a folder, without plugins but pytest-xdist."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_it.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "tests.suite", "-p", "xdist", *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_tests_that_pass_alone_are_listed_as_flaky_and_the_suite_passes(tmp_path: Path) -> None:
    ran = suite(tmp_path, ONCE, "-n", "2")
    assert ran.returncode == 0, ran.stdout
    assert "flaky: test_it.py::test_late[a b]: failed beside others, passed alone" in ran.stdout
    assert "flaky: test_it.py::test_late[c::d]: failed beside others, passed alone" in ran.stdout
    assert "2 passed, 1 deselected" in ran.stdout
    assert "failed twice" not in ran.stdout


def test_a_test_that_fails_again_fails_the_suite(tmp_path: Path) -> None:
    ran = suite(tmp_path, ONCE + TEARDOWN)
    assert ran.returncode == 1, ran.stdout
    assert ran.stdout.count("flaky: ") == 2
    assert "failed twice: test_it.py::test_left_open" in ran.stdout


def test_more_failures_than_five_fail_the_suite_at_once(tmp_path: Path) -> None:
    ran = suite(tmp_path, MANY)
    assert ran.returncode == 1, ran.stdout
    assert (tmp_path / "tries").read_text() == "x" * 6


def test_a_worker_that_crashes_is_reported_and_fails_the_suite_at_once(tmp_path: Path) -> None:
    ran = suite(tmp_path, CRASH, "-n", "1")
    assert ran.returncode == 1, ran.stdout
    assert "crashed while running 'test_it.py::test_crashes'" in ran.stdout
    assert (tmp_path / "tries").read_text() == "x"


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_file_that_cannot_be_collected_fails_the_suite_at_once(tmp_path: Path, workers: str) -> None:
    (tmp_path / "test_other.py").write_text("import nothing_of_this_name\n")
    ran = suite(tmp_path, ONCE, "-n", workers, "--continue-on-collection-errors")
    assert ran.returncode in {1, 2}, ran.stdout
    assert "again, alone" not in ran.stdout
