"""Moves the quotes from legacy to trading and back: one phase at a time, whatever is asked for.

Every replica of legacy looks for work, one at a time does it. All that counts is in legacy's database, and
each act can be repeated, so whichever replica comes next goes on where another has stopped.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry, Gauge

from meshwright.services.kit.client import ServiceClient, ServiceUnavailableError
from meshwright.services.legacy import domain
from meshwright.services.legacy.domain import ComparisonReport, Difference, MigrationPhase, MigrationState
from meshwright.services.legacy.store import LegacyStore
from meshwright.services.quotes.quote import MAX_QUOTES, DealerQuote, QuotesPage

POLL_SECONDS = 0.5
"""Seconds between looks for work."""

LEASE_MS = 10_000
"""Milliseconds after which another replica goes on with what one has left undone."""

SETTLE_SECONDS = 0.25
"""Seconds between two comparisons under traffic. A copy on its way arrives in that time."""

log = structlog.get_logger()


class WaitingError(Exception):
    """The next phase cannot begin yet; the text says why."""


class Migration:
    """The migration, from the view of the replica `holder`."""

    def __init__(
        self, store: LegacyStore, client: ServiceClient, holder: str, registry: CollectorRegistry
    ) -> None:
        self._store = store
        self._client = client
        self._holder = holder
        self._phase = Gauge(
            "migration_phase", "How far the quotes have moved to trading, from 0 to 5.", registry=registry
        )

    async def copy(self, quotes: Sequence[DealerQuote]) -> None:
        """Give quotes to trading. Raises ServiceUnavailableError; they stay queued then."""
        body = QuotesPage(quotes=list(quotes)).model_dump(by_alias=True)
        response = await self._client.call("PUT", "trading", "/quotes", body)
        if response.status != 200:
            raise ServiceUnavailableError("trading", f"it refuses copies: {response.code}")
        await self._store.copied(quotes)

    async def work(self) -> bool:
        """Do a part of what is due; returns whether there may be more at once."""
        state = await self._store.state()
        self._phase.set(state.phase)
        pending = await self._store.uncopied(MAX_QUOTES) if state.copies_writes else []
        is_settled = state.next_phase is None and state.gate == "open"
        if is_settled and state.requested == state.answered and not pending:
            return False
        now = time.time_ns() // 1_000_000
        if not await self._store.claim(self._holder, now, now + LEASE_MS):
            return False
        try:
            if pending:
                await self.copy(pending)
            elif state.requested != state.answered:
                await self._store.answer(state.requested, await self._compare_under_traffic())
            elif state.next_phase is None or (state.gate == "frozen" and state.next_phase < state.phase):
                await self._store.set_gate(state, "open")
            else:
                await self._enter(state, state.next_phase)
        except (ServiceUnavailableError, WaitingError) as reason:
            await self._wait(str(reason))
            return False
        return True

    async def _wait(self, reason: str) -> None:
        """Let writers go on, if they wait, and store the reason."""
        state = await self._store.state()
        if state.gate == "frozen":
            await self._store.set_gate(state, "open")
        if state.error != reason:
            log.warning("the migration waits", phase=int(state.phase), reason=reason)
            await self._store.note(reason)

    async def _enter(self, state: MigrationState, phase: MigrationPhase) -> None:
        """Enter a phase, or do a part of what comes before it. Raises WaitingError."""
        if await self._prepare(state, phase) and await self._store.advance(state, phase):
            log.info("phase of the migration", phase=int(phase), name=phase.name)

    async def _prepare(self, state: MigrationState, phase: MigrationPhase) -> bool:
        """Whether all is done that comes before a phase."""
        match state.phase, phase:
            case MigrationPhase.DUAL_WRITE, MigrationPhase.BACKFILL:
                if not state.cursor:
                    await self._store.queue_all(state, "queued")
                    return False
                await self._check_equal()
            case MigrationPhase.BACKFILL, MigrationPhase.READ_SHIFT:
                await self._check_equal()
            case MigrationPhase.READ_SHIFT, MigrationPhase.WRITE_SHIFT:
                return await self._hand_to_trading(state)
            case MigrationPhase.WRITE_SHIFT, MigrationPhase.READ_SHIFT:
                return await self._hand_to_legacy(state)
            case (MigrationPhase.WRITE_SHIFT, MigrationPhase.CLEANUP) | (
                MigrationPhase.CLEANUP,
                MigrationPhase.WRITE_SHIFT,
            ):
                await self._take_back(state, phase)
        return True

    async def _hand_to_trading(self, state: MigrationState) -> bool:
        """Make trading the owner; returns whether it is. Until the gate is committing it can be given up."""
        if state.gate == "open":
            await self._store.set_gate(state, "frozen")
            return False
        if state.gate == "frozen":
            await self._check_equal()
            await self._store.set_gate(state, "committing")
            return False
        await self._set_owner("trading")
        return True

    async def _hand_to_legacy(self, state: MigrationState) -> bool:
        """Make legacy the owner; returns whether it is, with all that trading has."""
        if state.gate == "open":
            await self._store.set_gate(state, "committing")
            return False
        await self._set_owner("legacy")
        await self._take_back(state, MigrationPhase.READ_SHIFT)
        return True

    async def _set_owner(self, owner: str) -> None:
        response = await self._client.call("PUT", "trading", "/quotes/owner", {"owner": owner})
        if response.status != 204:
            raise ServiceUnavailableError("trading", f"it refuses an owner: status {response.status}")

    async def _take_back(self, state: MigrationState, phase: MigrationPhase) -> None:
        """Store all quotes of trading that are newer than legacy's, from where the last attempt stopped.

        Both sides are equal then; before the cleanup it is enough that trading has all. Raises WaitingError.
        """
        cursor = state.cursor
        while page := await self._page_of_trading(cursor):
            cursor = page[-1].symbol
            await self._store.take_back(state, page, cursor)
        report = await self._compare_under_traffic()
        if report.is_equal or (phase == MigrationPhase.CLEANUP and report.trading_has_all):
            return
        await self._store.take_back(state, [], "")  # the next attempt begins at the first symbol
        raise WaitingError(_summary(report))

    async def _check_equal(self) -> None:
        report = await self._compare_under_traffic()
        if not report.is_equal:
            raise WaitingError(_summary(report))

    async def _compare_under_traffic(self) -> ComparisonReport:
        """A difference counts if it is there twice, with the same quotes: others are copies on their way."""
        first, compared = await self._differences()
        if first:
            await asyncio.sleep(SETTLE_SECONDS)
            earlier = set(first)
            second, compared = await self._differences()
            first = [difference for difference in second if difference in earlier]
        return domain.report(first, compared)

    async def _differences(self) -> tuple[list[Difference], int]:
        """The differences of both sides, and the number of symbols."""
        differences: list[Difference] = []
        total, after = 0, ""
        while True:
            legacy = await self._store.page(after, MAX_QUOTES)
            trading = await self._page_of_trading(after)
            here, compared, end = domain.compare(legacy, trading, MAX_QUOTES)
            differences += here
            total += compared
            if end is None:
                return differences, total
            after = end

    async def _page_of_trading(self, after: str) -> list[DealerQuote]:
        response = await self._client.call("GET", "trading", f"/quotes?limit={MAX_QUOTES}&after={after}")
        try:
            return QuotesPage.model_validate(response.body).quotes
        except ValueError:
            raise ServiceUnavailableError("trading", f"status {response.status} without quotes") from None


def _summary(report: ComparisonReport) -> str:
    """The counts of a report that are not 0."""
    counts = report.model_dump(exclude={"compared", "examples"})
    text = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
    return f"the two sides differ: {text} of {report.compared}: `compare` lists them"
