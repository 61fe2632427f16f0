"""Withdraws a revision: the documents of the one that was in force before become the newest, at once."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from meshwright.control_plane.api.models.push import PushReport, Withdrawal
from meshwright.control_plane.store.store import Store

REASON_LIMIT = 600
"""Characters of a reason: Envoy's own error messages are longer at times."""

log = structlog.get_logger(__name__)


class Withdrawals:
    """Withdraws revisions; `report` gets what becomes an event."""

    def __init__(self, store: Store, report: Callable[[Withdrawal, str], None]) -> None:
        self._store = store
        self.pushes = store.pushes
        self._report = report

    async def withdraw(self, push: PushReport, reason: str, author: str) -> None:
        """Withdraw the newest revision; raises RevisionConflictError if there is a newer one, StoreError."""
        stable = await self._store.get(push.restores)
        withdrawal = Withdrawal(
            revision=push.newest,
            stable=push.restores,
            restored=push.newest + 1,
            reason=" ".join(reason.split())[:REASON_LIMIT],
            admitted=push.push.admitted if push.push else (),
            affected=push.push.affected if push.push else 0,
            time=time.time(),
        )
        message = f"withdraws revision {push.newest}: {withdrawal.reason}"
        commit = self._store.commit
        restored = await commit(push.newest, stable.documents, author, message, withdrawal=withdrawal)
        if restored.number == push.newest:  # both have the same documents: there is nothing to withdraw
            await self._store.pushes.promote(push)
            return
        self._report(withdrawal, author)
        log.error("revision withdrawn", revision=push.newest, restored=restored.number, reason=reason)
