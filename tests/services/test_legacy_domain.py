"""The phases of the migration, and what a comparison finds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshwright.services.legacy.commands import parse, report_text
from meshwright.services.legacy.domain import (
    MEANINGS,
    Difference,
    MigrationPhase,
    MigrationState,
    compare,
    report,
)
from meshwright.services.quotes.quote import DealerQuote, is_pair, next_quote


def quote(symbol: str, version: int = 1, price: int = 5) -> DealerQuote:
    return DealerQuote(symbol=symbol, version=version, price=price, timestamp=version)


def test_versions_and_times_of_a_pair_increase() -> None:
    first = next_quote("XAU-USD", 7, None, 1000)
    assert (first.version, first.timestamp) == (1, 1000)
    following = next_quote("XAU-USD", 8, first, 900)
    assert (following.version, following.price, following.timestamp) == (2, 8, 1001)
    assert [is_pair(symbol) for symbol in ("XAU-USD", "BTC", "XAU-usd", "X-USD", "XAU-USD\n")] == [
        True,
        *[False] * 4,
    ]


def test_phases_are_entered_one_by_one_in_both_directions() -> None:
    for before, after in pairwise(MigrationPhase):
        assert MigrationState(before, MigrationPhase.CLEANUP).next_phase == after
        assert MigrationState(after, MigrationPhase.LEGACY_ONLY).next_phase == before
    assert MigrationState(MigrationPhase.BACKFILL, MigrationPhase.BACKFILL).next_phase is None
    assert MEANINGS.keys() == set(MigrationPhase)


def test_a_change_of_the_owner_is_completed_whatever_the_target() -> None:
    to_trading = MigrationState(MigrationPhase.READ_SHIFT, MigrationPhase.LEGACY_ONLY, "committing")
    assert to_trading.next_phase == MigrationPhase.WRITE_SHIFT
    to_legacy = MigrationState(MigrationPhase.WRITE_SHIFT, MigrationPhase.CLEANUP, "committing")
    assert to_legacy.next_phase == MigrationPhase.READ_SHIFT
    assert (
        MigrationState(MigrationPhase.READ_SHIFT, MigrationPhase.LEGACY_ONLY, "frozen").next_phase
        == MigrationPhase.BACKFILL
    )


def test_each_quote_has_one_owner_and_where_both_sides_have_it_both_get_it() -> None:
    states = [MigrationState(phase, phase) for phase in MigrationPhase]
    assert [state.copies_writes for state in states] == [False, True, True, True, False, False]
    assert [state.trading_owns for state in states] == [False, False, False, False, True, True]
    assert [state.keeps_copies for state in states] == [False, False, False, False, True, False]
    assert MigrationState(MigrationPhase.CLEANUP, MigrationPhase.READ_SHIFT).keeps_copies, "on the way back"


SIDES = st.dictionaries(
    st.sampled_from([f"{letter}{letter}-USD" for letter in "ABCDEFGH"]), st.integers(1, 3)
)


@given(SIDES, SIDES, st.integers(1, 4))
def test_pages_of_any_size_find_each_difference_once(
    left: dict[str, int], right: dict[str, int], size: int
) -> None:
    legacy, trading = ([quote(s, version) for s, version in sorted(side.items())] for side in (left, right))
    listed: list[Difference] = []
    total, after = 0, ""
    while True:
        pages = [[q for q in side if q.symbol > after][:size] for side in (legacy, trading)]
        differences, compared, end = compare(pages[0], pages[1], size)
        listed += differences
        total += compared
        if end is None:
            break
        assert end > after
        after = end
    symbols = sorted(left.keys() | right.keys())
    assert total == len(symbols)
    assert [d.symbol for d in listed] == [s for s in symbols if left.get(s) != right.get(s)]


def test_a_report_counts_each_kind_of_difference() -> None:
    conflicting = quote("EE-USD", 2, 6)
    differences = [
        Difference("AA-USD", quote("AA-USD"), None),
        Difference("BB-USD", None, quote("BB-USD")),
        Difference("CC-USD", quote("CC-USD", 2), quote("CC-USD", 1)),
        Difference("DD-USD", quote("DD-USD", 1), quote("DD-USD", 2)),
        Difference("EE-USD", quote("EE-USD", 2), conflicting),
    ]
    counted = report(differences, 9)
    kinds = counted.model_dump(exclude={"compared", "examples"})
    assert set(kinds.values()) == {1}
    assert not counted.is_equal
    assert not counted.trading_has_all
    newer = report([differences[1], differences[3]], 9)
    assert newer.trading_has_all
    assert not newer.is_equal
    text = report_text(counted)
    assert "9 quotes compared:\n  1 missing in trading\n" in text
    assert f"{'EE-USD':<16}  {'version 2: 5':<24}  version 2: 6\n" in text
    assert f"{'AA-USD':<16}  {'version 1: 5':<24}  -\n" in text
    assert report_text(report([], 4)) == "4 quotes compared, no difference\n"


def test_commands_name_the_phase(capsys: pytest.CaptureFixture[str]) -> None:
    assert parse([]).command is None
    assert parse(["migrate"]).phase is None
    assert parse(["migrate", "--phase", "5"]).phase == MigrationPhase.CLEANUP
    with pytest.raises(SystemExit):
        parse(["migrate", "--phase", "6"])
    assert "argument --phase: invalid choice: " in capsys.readouterr().err
