"""Every field that the tables in docs/ call converted has a proof, or a reason why there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwright.cli.convert.table import SOURCES
from tests.cli.convert.proofs import NOT_SEEN, TESTS, entry_for, proved_fields

TESTS_FOLDER = Path(__file__).parents[2]
KINDS = [(source, kind) for source, (_, kinds) in SOURCES.items() for kind in kinds]


@pytest.mark.parametrize(("source", "kind"), KINDS)
def test_every_converted_field_is_proved_or_has_a_reason(source: str, kind: str) -> None:
    converted, proved = set(SOURCES[source][1][kind].converted), proved_fields(source, kind)
    elsewhere = {**TESTS.get(kind, {}), **NOT_SEEN.get(kind, {})}
    rest = converted - proved
    assert sorted(field for field in rest if not entry_for(elsewhere, field)) == []
    used = {entry_for(elsewhere, field) for field in rest}
    assert sorted(elsewhere.keys() - used) == [], "entries that nothing needs"


def test_a_kind_of_the_proofs_is_one_that_is_converted() -> None:
    assert {*TESTS, *NOT_SEEN} <= {kind for _, kind in KINDS}


@pytest.mark.parametrize("test", sorted({test for tests in TESTS.values() for test in tests.values()}))
def test_a_proof_elsewhere_is_a_test(test: str) -> None:
    path, _, name = test.partition("::")
    assert f"def {name}(" in (TESTS_FOLDER / path).read_text()
