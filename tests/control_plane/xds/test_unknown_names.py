"""Names that were asked for before they existed: none is forgotten, and memory stays bounded."""

from __future__ import annotations

import sys

import pytest

from meshwright.control_plane.xds.protocol.unknown_names import FILTER_BITS, UnknownNames

NAMES = [f"out/host{number}.example.com" for number in range(20_000)]


@pytest.mark.parametrize("limit", [0, 1, 100, len(NAMES) - 1, len(NAMES)])
def test_no_name_is_forgotten(limit: int) -> None:
    names = UnknownNames(limit)
    for name in NAMES:
        names.add(name)
    assert all(name in names for name in NAMES)


def test_up_to_the_limit_no_other_name_is_taken_for_one_of_them() -> None:
    names = UnknownNames(100)
    for name in NAMES[:100]:
        names.add(name)
    assert not any(name in names for name in NAMES[100:])


def test_beyond_the_limit_few_other_names_are_taken_for_one_of_them() -> None:
    names = UnknownNames(100)
    for number in range(100_000):
        names.add(f"out/{number}")
    assert sum(name in names for name in NAMES) < 0.03 * len(NAMES)


def test_memory_does_not_grow_with_the_number_of_names() -> None:
    names = UnknownNames(100)
    for number in range(100_000):
        names.add(f"out/{number}")
    assert sys.getsizeof(names._filter) < FILTER_BITS // 8 + 100
    assert sys.getsizeof(names._names) < 20_000
