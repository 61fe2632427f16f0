"""One push as a pure state machine: what is seen of the proxies in, the next state or the verdict out.

A revision on trial is withdrawn as soon as a proxy that has it rejects it, drops off, or does worse than the
others. Otherwise the next wave is admitted once the last one has ACKed and was watched. Once the final wave
has ACKed, the revision is in force, and still watched. A paused push admits nobody; it is still withdrawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from meshwright.control_plane.api.models.push import Push

GROWTH = 4
"""Times as many proxies after each wave: a hundred are reached in four waves."""

LATER_PROXIES = 8
"""A later wave has at least as many proxies, and leaves none or more: in a small mesh more waves only take
time."""

LATER_WATCH = 0.5
"""The share of the watch for waves after the first. Two flushes of figures arrive in half of ten seconds: a
fifth of the requests failing shows."""

ACK_LIMIT = 60.0
"""Seconds within which a wave must ACK: Envoy replies within one, a paused process is not a verdict."""

GONE_LIMIT = 3.0
"""Seconds without a stream after which a proxy has dropped off: reconnecting takes less than one."""

MAX_DROPS = 2
"""Times that a proxy with the revision may lose its stream: a connection may end, a crash repeats."""


@dataclass(frozen=True, slots=True)
class AffectedProxy:
    """A proxy that the revision changes, or that has it already.

    `accepted`: it ACKed all of the revision. `rejection`: what Envoy says about what it NACKed of it.
    `gone`: seconds without a stream, 0 if it is connected; one that left as planned is not seen at all.
    `drops`: how often it lost its stream since it got the revision.
    `requests`: those of the last seconds.
    """

    service: str
    name: str
    accepted: bool = False
    rejection: str = ""
    gone: float = 0.0
    drops: int = 0
    requests: float = 0.0

    @property
    def key(self) -> str:
        """As a push lists it."""
        return f"{self.service}/{self.name}"


@dataclass(frozen=True, slots=True)
class PushObservation:
    """What is seen at `now`, in epoch seconds.

    `together`: it changes both sides of calls, which a wave must not separate.
    `failure`: why the revision cannot be translated. `burn`: how the proxies that have it do worse than the
    others. `figures`: how both do. `watch`: seconds for which the first wave, and the revision once it is in
    force, are watched, if they have traffic.
    `taken_over`: another leader began the wave, so that its traffic is not known yet: it may have some.
    """

    now: float
    proxies: Sequence[AffectedProxy] = ()
    failure: str = ""
    burn: str = ""
    figures: str = ""
    watch: float = 10.0
    taken_over: bool = False
    together: bool = False


@dataclass(frozen=True, slots=True)
class Withdraw:
    """The revision does harm: `reason` in words and figures."""

    reason: str


@dataclass(frozen=True, slots=True)
class Promote:
    """Every affected proxy has the revision: it is in force, and no longer watched without `after`."""

    after: Push | None = None


def step(push: Push, seen: PushObservation) -> Push | Withdraw | Promote:
    """The push after what was seen; the same one if nothing is due."""
    by_key = {proxy.key: proxy for proxy in seen.proxies}
    admitted = [by_key[key] for key in push.admitted if key in by_key]
    if reason := _harm(push, admitted, seen):
        return Withdraw(reason)
    wave = [by_key[key] for key in push.current if key in by_key]
    pending = [proxy for proxy in wave if not proxy.accepted]
    if push.phase == "after":
        return push if seen.now - push.since < seen.watch else Promote()
    if push.phase == "acks" and pending:
        waited = seen.now - push.since
        if waited >= ACK_LIMIT:
            return Withdraw(f"{_named(pending)} neither accepted nor rejected it within {waited:.0f} s")
        return push
    waiting = [proxy for proxy in by_key.values() if proxy.key not in push.admitted and not proxy.gone]
    if waiting and push.phase == "acks" and _may_have_traffic(wave, seen):
        return push.model_copy(update={"phase": "watch", "since": seen.now, "figures": seen.figures})
    watch = seen.watch if push.wave == 1 else seen.watch * LATER_WATCH
    if waiting and push.phase == "watch" and seen.now - push.since < watch:
        return push
    if push.state == "paused":
        return push
    if waiting:
        return _next_wave(push, waiting, seen)
    if not _may_have_traffic(admitted, seen):
        return Promote()
    after = {"phase": "after", "since": seen.now, "size": 0, "affected": len(push.admitted)}
    return Promote(push.model_copy(update={**after, "figures": seen.figures}))


def _may_have_traffic(proxies: Sequence[AffectedProxy], seen: PushObservation) -> bool:
    """Whether there is anything to watch."""
    return seen.watch > 0 and (seen.taken_over or any(proxy.requests for proxy in proxies))


def _harm(push: Push, admitted: Sequence[AffectedProxy], seen: PushObservation) -> str:
    """Why the revision must be withdrawn; empty if there is no reason."""
    if seen.failure:
        return seen.failure
    for proxy in admitted:
        if proxy.rejection:
            return f"{proxy.name} of {proxy.service} rejected it: {proxy.rejection}"
    for proxy in admitted:
        if proxy.drops > MAX_DROPS:
            return f"{proxy.name} of {proxy.service} dropped off {proxy.drops} times in wave {push.wave}"
        if proxy.gone >= GONE_LIMIT:
            return f"{proxy.name} of {proxy.service} dropped off {proxy.gone:.0f} s ago, in wave {push.wave}"
    return seen.burn


def _next_wave(push: Push, waiting: Sequence[AffectedProxy], seen: PushObservation) -> Push:
    if seen.together:
        wave = waiting
    else:
        wave = first_wave(waiting) if push.wave == 0 else later_wave(waiting, len(push.admitted))
    reached = len(push.admitted) + len(wave)
    return push.model_copy(
        update={
            "wave": push.wave + 1,
            "waves": push.wave + 1 + _waves_after(reached, len(waiting) - len(wave)),
            "phase": "acks",
            "since": seen.now,
            "admitted": (*push.admitted, *(proxy.key for proxy in wave)),
            "size": len(wave),
            "affected": len(push.admitted) + len(waiting),
            "figures": seen.figures,
        }
    )


def first_wave(waiting: Sequence[AffectedProxy]) -> list[AffectedProxy]:
    """One proxy of each service that has several, the busiest; if none has, the busiest of all.

    A service with a single proxy would have the revision everywhere at once.
    """
    views: dict[str, list[AffectedProxy]] = {}
    for proxy in _busiest_first(waiting):
        views.setdefault(proxy.service, []).append(proxy)
    firsts = [proxies[0] for proxies in views.values() if len(proxies) > 1]
    return firsts or _busiest_first(waiting)[:1]


def later_wave(waiting: Sequence[AffectedProxy], reached: int) -> list[AffectedProxy]:
    """The next proxies after `reached` ones: services with the fewest left first, so they end in order."""
    left: dict[str, int] = {}
    for proxy in waiting:
        left[proxy.service] = left.get(proxy.service, 0) + 1
    ordered = sorted(_busiest_first(waiting), key=lambda proxy: (left[proxy.service], proxy.service))
    return ordered[: _later_size(reached, len(waiting))]


def _later_size(reached: int, waiting: int) -> int:
    size = max(LATER_PROXIES, reached * (GROWTH - 1))
    return waiting if waiting - size <= LATER_PROXIES else size


def _waves_after(reached: int, waiting: int) -> int:
    """How many later waves reach `waiting` more proxies."""
    waves = 0
    while waiting > 0:
        size = _later_size(reached, waiting)
        waves, reached, waiting = waves + 1, reached + size, waiting - size
    return waves


def _busiest_first(proxies: Sequence[AffectedProxy]) -> list[AffectedProxy]:
    return sorted(proxies, key=lambda proxy: (-proxy.requests, proxy.service, proxy.name))


def _named(proxies: Sequence[AffectedProxy]) -> str:
    names = sorted(proxy.name for proxy in proxies)
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
