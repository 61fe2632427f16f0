"""Tests are marked with what they need."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.needs import MARKS, NEEDS


def test_needs_names_only_modules_that_exist() -> None:
    assert [module for module in NEEDS if find_spec(module) is None] == []
    assert set(NEEDS.values()) <= set(MARKS)


def test_mark_a_pure_test_has_no_mark(request: pytest.FixtureRequest) -> None:
    assert not any(request.node.get_closest_marker(name) for name in MARKS)
