"""The saga of an order: which step follows which outcome. Pure.

Forward: reserve the goods, charge the card, confirm the order, commit the goods, notify the customer. The
charge is the pivot. Before it a failure compensates what may have been done, in reverse: refund, release,
cancel. After it, and while it compensates, a step that fails is tried again until it succeeds: a customer who
has paid gets the goods, and one who gets none has paid nothing. Every step can be repeated, so a saga may run
twice at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Step = Literal["reserve", "charge", "confirm", "commit", "notify", "refund", "release", "cancel", "done"]
"""What the saga does next. `done`: nothing."""

NEXT: dict[Step, Step] = {
    "reserve": "charge", "charge": "confirm", "confirm": "commit", "commit": "notify", "notify": "done",
    "refund": "release", "release": "cancel", "cancel": "done",
}  # fmt: skip
"""The step after one that succeeded."""

ON_REFUSAL: dict[Step, Step] = {"reserve": "cancel", "charge": "release"}
"""Where compensation begins after a refusal: a refused step has done nothing itself."""

ON_TIMEOUT: dict[Step, Step] = {"reserve": "release", "charge": "refund"}
"""Where compensation begins after a step without an answer: it may have been done, or be done later."""

BACKOFF_MS, MAX_BACKOFF_MS = 250, 30_000
STUCK_ATTEMPTS = 5
"""Failed attempts at one step after which a saga counts as stuck."""


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The step is done, now or before."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The step will never be done. `code` says why."""

    code: str


@dataclass(frozen=True, slots=True)
class Failed:
    """Nobody knows whether the step is done."""

    error: str


Outcome = Succeeded | Refused | Failed


@dataclass(frozen=True, slots=True)
class Saga:
    """Where an order's saga is. Times are in ms since the epoch.

    `step` is tried at `due`; `attempts` of it have failed, the last with `error`. After `deadline` a step
    before the pivot is not tried again. `reason` is why the order is cancelled. The card's token is kept
    until the charge is decided. Each change raises `version`.
    """

    order_id: str
    deadline: int
    due: int
    card_token: str = field(repr=False, default="")
    step: Step = "reserve"
    attempts: int = 0
    error: str = ""
    reason: str = ""
    version: int = 1

    @property
    def is_stuck(self) -> bool:
        """Whether its step has failed again and again."""
        return self.attempts >= STUCK_ATTEMPTS


def advance(saga: Saga, outcome: Outcome, now: int) -> Saga:
    """The saga after an attempt at its step."""
    match outcome:
        case Succeeded():
            return _enter(saga, NEXT[saga.step], saga.reason, now)
        case Refused(code) if saga.step in ON_REFUSAL:
            return _enter(saga, ON_REFUSAL[saga.step], code, now)
        case Failed() if saga.step in ON_TIMEOUT and now >= saga.deadline:
            return _enter(saga, ON_TIMEOUT[saga.step], "timed_out", now)
    error = outcome.code if isinstance(outcome, Refused) else outcome.error
    delay = min(BACKOFF_MS * 2 ** min(saga.attempts, 16), MAX_BACKOFF_MS)
    return replace(
        saga, attempts=saga.attempts + 1, due=now + delay, error=error[:200], version=saga.version + 1
    )


def _enter(saga: Saga, step: Step, reason: str, now: int) -> Saga:
    return replace(
        saga,
        step=step,
        reason=reason,
        attempts=0,
        error="",
        due=now,
        card_token=saga.card_token if step == "charge" else "",
        version=saga.version + 1,
    )
