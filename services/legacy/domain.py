"""How quotes move from legacy to trading: the phases, and the comparison of both sides. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from meshwright.services.kit.operations import BodyModel
from meshwright.services.quotes.quote import DealerQuote

SEED_PRICES: Mapping[str, int] = {"EUR-USD": 108, "XAG-USD": 3_240, "XAU-USD": 241_500, "XPT-USD": 97_800}
"""The pairs of a new exchange and their prices in minor units."""

MAX_EXAMPLES = 20
"""Differences that a report lists."""


def seed_quotes(now: int) -> list[DealerQuote]:
    """The first quotes, at `now` in milliseconds since the epoch."""
    return [
        DealerQuote(symbol=symbol, version=1, price=price, timestamp=now)
        for symbol, price in SEED_PRICES.items()
    ]


class MigrationPhase(IntEnum):
    """How far the data has moved. Each phase can be left in both directions."""

    LEGACY_ONLY = 0
    DUAL_WRITE = 1
    BACKFILL = 2
    READ_SHIFT = 3
    WRITE_SHIFT = 4
    CLEANUP = 5


MEANINGS: Mapping[MigrationPhase, str] = {
    MigrationPhase.LEGACY_ONLY: "legacy only: trading has no quotes of dealers",
    MigrationPhase.DUAL_WRITE: "dual write: each new quote is copied to trading",
    MigrationPhase.BACKFILL: "backfill: all quotes are at trading too",
    MigrationPhase.READ_SHIFT: "read shift: legacy answers with trading's quotes, checked against its own",
    MigrationPhase.WRITE_SHIFT: "write shift: trading owns the quotes, legacy keeps copies",
    MigrationPhase.CLEANUP: "cleanup: legacy has no quotes left and asks trading for each",
}

Gate = Literal["open", "frozen", "committing"]
"""Whether legacy takes new quotes. `frozen`: they wait, and the change of the owner can still be given up.
`committing`: trading may know of its new owner, so the change has to be completed."""


@dataclass(frozen=True, slots=True)
class MigrationState:
    """The state that all replicas of legacy share. `cursor`: how far the work for the next phase has come.

    `step` counts the changes of phase, target and gate, so that whoever acts on an earlier state notices.
    `requested` and `answered` count the comparisons that were asked for and those whose report is stored.
    """

    phase: MigrationPhase = MigrationPhase.LEGACY_ONLY
    target: MigrationPhase = MigrationPhase.LEGACY_ONLY
    gate: Gate = "open"
    cursor: str = ""
    error: str = ""
    requested: int = 0
    answered: int = 0
    step: int = 0

    @property
    def next_phase(self) -> MigrationPhase | None:
        """The phase to enter next; None at the target. A change of the owner goes on whatever the target."""
        if self.gate == "committing":
            return MigrationPhase.READ_SHIFT if self.trading_owns else MigrationPhase.WRITE_SHIFT
        if self.target == self.phase:
            return None
        return MigrationPhase(self.phase + (1 if self.target > self.phase else -1))

    @property
    def copies_writes(self) -> bool:
        """Whether a new quote of legacy goes to trading too."""
        return MigrationPhase.DUAL_WRITE <= self.phase <= MigrationPhase.READ_SHIFT

    @property
    def trading_owns(self) -> bool:
        """Whether trading takes new quotes, and legacy passes them on."""
        return self.phase >= MigrationPhase.WRITE_SHIFT

    @property
    def keeps_copies(self) -> bool:
        """Whether legacy stores what trading has taken."""
        return self.phase == MigrationPhase.WRITE_SHIFT or (
            self.phase == MigrationPhase.CLEANUP and self.next_phase == MigrationPhase.WRITE_SHIFT
        )


@dataclass(frozen=True, slots=True)
class Difference:
    """A symbol on which the two sides differ, with the quotes of both; None: no quote there."""

    symbol: str
    legacy: DealerQuote | None
    trading: DealerQuote | None


class DifferenceReport(BodyModel):
    """One difference. A version or price is None where there is no quote."""

    symbol: str
    legacy_version: int | None
    legacy_price: int | None
    trading_version: int | None
    trading_price: int | None


class ComparisonReport(BodyModel):
    """What a comparison of both sides has shown, with examples of the differences."""

    compared: int
    missing_in_trading: int = 0
    missing_in_legacy: int = 0
    older_in_trading: int = 0
    older_in_legacy: int = 0
    conflicting: int = 0
    examples: tuple[DifferenceReport, ...] = ()

    @property
    def is_equal(self) -> bool:
        """Whether both sides have the same quotes."""
        return not self.examples

    @property
    def trading_has_all(self) -> bool:
        """Whether trading has all that legacy has, and perhaps more."""
        return not (self.missing_in_trading or self.older_in_trading or self.conflicting)


def compare(
    legacy: Sequence[DealerQuote], trading: Sequence[DealerQuote], page_size: int
) -> tuple[list[Difference], int, str | None]:
    """Compare the next page of each side, both ordered by symbol and after the same one.

    Returns the differences, the number of symbols, and the last symbol that both pages cover: the next pages
    begin after it. None: both sides end here.
    """
    ends = [page[-1].symbol for page in (legacy, trading) if len(page) == page_size]
    end = min(ends) if ends else None
    left = {quote.symbol: quote for quote in legacy if end is None or quote.symbol <= end}
    right = {quote.symbol: quote for quote in trading if end is None or quote.symbol <= end}
    symbols = sorted(left.keys() | right.keys())
    differences = [
        Difference(symbol, left.get(symbol), right.get(symbol))
        for symbol in symbols
        if left.get(symbol) != right.get(symbol)
    ]
    return differences, len(symbols), end


def report(differences: Iterable[Difference], compared: int) -> ComparisonReport:
    """The report of a comparison of so many symbols."""
    counts = {
        "missing_in_trading": 0,
        "missing_in_legacy": 0,
        "older_in_trading": 0,
        "older_in_legacy": 0,
        "conflicting": 0,
    }
    listed: list[DifferenceReport] = []
    for difference in differences:
        counts[_kind(difference)] += 1
        if len(listed) < MAX_EXAMPLES:
            legacy, trading = difference.legacy, difference.trading
            listed.append(
                DifferenceReport(
                    symbol=difference.symbol,
                    legacy_version=legacy.version if legacy else None,
                    legacy_price=legacy.price if legacy else None,
                    trading_version=trading.version if trading else None,
                    trading_price=trading.price if trading else None,
                )
            )
    return ComparisonReport(compared=compared, examples=tuple(listed), **counts)


def _kind(difference: Difference) -> str:
    legacy, trading = difference.legacy, difference.trading
    if trading is None:
        return "missing_in_trading"
    if legacy is None:
        return "missing_in_legacy"
    if legacy.version == trading.version:
        return "conflicting"
    return "older_in_trading" if trading.version < legacy.version else "older_in_legacy"
