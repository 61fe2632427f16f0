"""When an SVID is renewed: at half of its life, spread a little, and in time to try again and again."""

from __future__ import annotations

from typing import Literal

from meshwright.sidecar.backoff import Backoff

RETRY_BACKOFF = Backoff(base=1.0, cap=60.0)
"""Delays between attempts to renew: half of an hour's life leaves room for some thirty of the longest."""

MIN_DELAY = 0.2
"""Seconds between two attempts at least, however short an SVID's life."""


def next_rotation(taken: float, not_after: float, jitter: float) -> float:
    """The time (seconds since the epoch) to renew an SVID that was `taken` into use then.

    Half of its life (as SPIRE does), less up to a tenth for `jitter` in 0..1, which keeps a mesh
    that was started at once from renewing at once. Its life counts from when it was taken, not from its
    `not_before`, which the CA sets into the past for peers whose clocks are slow.
    """
    return taken + (not_after - taken) * (0.5 - 0.1 * jitter)


def retry_delay(failures: int, left: float, jitter: float) -> float:
    """Seconds until the next attempt, after `failures` of them, with `left` seconds of life left.

    Never later than half of what is left, so that a short-lived SVID gets its tries; never below SHORTEST.
    """
    wait = Backoff(RETRY_BACKOFF.base, RETRY_BACKOFF.cap, failures=failures).delay(jitter)
    return max(MIN_DELAY, min(wait, left / 2) if left > 0 else min(wait, RETRY_BACKOFF.base))


def renewal_method(not_after: float, now: float) -> Literal["renew", "enrol"]:
    """An SVID that has expired proves nothing any more: enrol anew, with the join token."""
    return "renew" if now < not_after else "enrol"
