"""A staged push: the revision on trial, how far it has come, and what was withdrawn."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel, StrictModel

PushState = Literal["running", "paused"]

PushPhase = Literal["acks", "watch", "after"]
"""`acks`: the proxies of the wave have not all ACKed. `watch`: their traffic is compared before the next
wave. `after`: every affected proxy has ACKed, the revision is in force, and traffic is still compared."""

PushAction = Literal["pause", "resume", "abort"]


class Push(ApiModel):
    """The push of a revision that is on trial or has just been, as the store keeps it.

    `wave` is the number of the current wave, 0 before the first, and `waves` how many there will be.
    `admitted` are the proxies that get the revision, as `service/name`, those of the current wave last;
    `size` counts those. `affected` are the proxies whose configuration it changes. `since`: when the phase
    began, in epoch seconds. `restores` is the revision that a withdrawal restores in the phase `after`.
    """

    revision: int
    state: PushState = "running"
    wave: int = 0
    waves: int = 0
    phase: PushPhase = "acks"
    since: float = 0.0
    admitted: tuple[str, ...] = ()
    size: int = 0
    affected: int = 0
    figures: str = ""
    restores: int = 0

    @property
    def current(self) -> tuple[str, ...]:
        """The proxies of the current wave."""
        return self.admitted[len(self.admitted) - self.size :]

    @property
    def is_last_wave(self) -> bool:
        """Whether every affected proxy is admitted."""
        return self.wave > 0 and len(self.admitted) >= self.affected


class Withdrawal(ApiModel):
    """A revision that was withdrawn: `restored` is the revision with the documents of `stable`.

    It had reached the proxies `admitted`, of `affected`.
    """

    revision: int
    stable: int
    restored: int = 0
    reason: str
    admitted: tuple[str, ...] = ()
    affected: int = 0
    time: float = Field(0.0, description="Epoch seconds, by the store's clock.")


class PushReport(ApiModel):
    """The push that is under way, and the last withdrawals, newest first.

    `newest` is the newest revision, `stable` the one in force: what proxies get that no wave has reached.
    `generation` grows with every change of the push.
    """

    newest: int
    stable: int
    generation: int = 0
    push: Push | None = None
    withdrawals: tuple[Withdrawal, ...] = ()

    @property
    def on_trial(self) -> bool:
        """Whether the newest revision is on trial."""
        return self.newest != self.stable

    @property
    def is_under_way(self) -> bool:
        """Whether the newest revision is watched: it may be withdrawn."""
        return self.on_trial or self.push is not None

    @property
    def restores(self) -> int:
        """The revision that a withdrawal restores."""
        return self.push.restores if self.push and not self.on_trial else self.stable


NO_PUSH = PushReport(newest=0, stable=0)


class PushRequest(StrictModel):
    """What to do with the push that is under way."""

    action: PushAction
    author: str = Field("", max_length=200)
    message: str = Field("", max_length=500)
