"""When to renew an SVID: at half of its lifetime, with jitter, and early enough for many retries. Pure."""

from __future__ import annotations

from typing import Literal

from meshwright.sidecar.backoff import Backoff

RETRY_BACKOFF = Backoff(base=1.0, cap=60.0)
"""Delays between attempts. Half of a one-hour lifetime leaves room for some thirty of the longest."""

CHECK_INTERVAL = 5.0
"""Seconds between two looks at the clock (SPIRE's DefaultRotatorInterval). A machine that slept, or whose
clock was set, renews that soon afterwards: a sleep until the renewal would go on for what it had left."""

CLOCK_STEP = 30.0
"""Seconds by which a clock may be set back before SVIDs are renewed. The CA backdates them by 60, so that
peers accept the old ones meanwhile."""

MIN_DELAY = 0.2
"""Minimum seconds between two attempts, however short an SVID's lifetime."""


def next_rotation(installed_at: float, not_after: float, jitter: float) -> float:
    """The time (seconds since the epoch) to renew an SVID that was installed at `installed_at`.

    Half of its lifetime (as SPIRE does), less up to a tenth for `jitter` in 0..1, so that a mesh that started
    at once does not renew at once. The lifetime counts from the installation, not from `not_before`, which
    the CA backdates for peers whose clocks are slow.
    """
    return installed_at + (not_after - installed_at) * (0.5 - 0.1 * jitter)


def is_due(since: float, due: float, now: float) -> bool:
    """Whether `due`, planned at `since`, has come, or the clock was set back, which makes every plan void."""
    return now >= due or now < since - CLOCK_STEP


def check_delay(due: float, now: float) -> float:
    """Seconds until the next look at the clock."""
    return min(CHECK_INTERVAL, max(MIN_DELAY, due - now))


def retry_delay(failures: int, remaining: float, jitter: float) -> float:
    """Seconds until the next attempt after `failures` of them, with `remaining` seconds of lifetime.

    At most half of the remaining lifetime, so that a short-lived SVID gets several attempts; at least
    MIN_DELAY.
    """
    delay = Backoff(RETRY_BACKOFF.base, RETRY_BACKOFF.cap, failures=failures).delay(jitter)
    return max(MIN_DELAY, min(delay, remaining / 2) if remaining > 0 else min(delay, RETRY_BACKOFF.base))


def renewal_method(not_after: float, now: float) -> Literal["renew", "enrol"]:
    """`renew` with the present SVID while it is valid, else `enrol` again with the join token."""
    return "renew" if now < not_after else "enrol"
