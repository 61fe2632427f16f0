"""When a wait ends: a clock that only moves when somebody pauses."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.rollout_wait import REJECTION_GRACE_SECONDS, wait_for_rollout
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.models.status import Status
from tests.fakes.admin_server import FakeTokens
from tests.fakes.store import FakeStore


def sidecar(name: str, state: str, revision: int, answered: int = 0, refused: int = 0) -> ProxyStatus:
    """A sidecar of orders."""
    return ProxyStatus.model_validate(
        {
            "name": name, "service": "orders", "state": state, "revision": revision, "error": "bad words",
            "answered": answered, "refused": refused,
        }
    )  # fmt: skip


class Clock:
    """Seconds that pass by pausing alone."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> float:
        return self.seconds

    async def pause(self, seconds: float) -> None:
        self.seconds += seconds


def mesh(clock: Clock, at: Callable[[float], Status]) -> AdminContext:
    """A mesh whose status depends on the time."""

    async def status() -> Status:
        return at(clock.seconds)

    return AdminContext(
        revisions=FakeStore(),
        status=status,
        instances=lambda: (),
        tokens=FakeTokens(),
        now=clock.now,
        sleep=clock.pause,
    )


def status(revision: int, *proxies: ProxyStatus) -> Status:
    """A status with these sidecars."""
    return Status(revision=revision, store="ok", proxies=proxies)


async def test_it_waits_for_the_slowest_connected_sidecar() -> None:
    clock = Clock()
    gone = sidecar("c", "disconnected", 0)

    def at(now: float) -> Status:
        slow = sidecar("b", "synced", 5) if now >= 3 else sidecar("b", "pending", 4)
        return status(5, sidecar("a", "synced", 5), slow, gone)

    reply = await wait_for_rollout(mesh(clock, at), 5, 10)
    assert (reply.state, reply.proxies) == ("programmed", ())
    assert 3 <= clock.seconds < 3.2


async def test_it_waits_for_the_control_plane_to_take_the_revision_up() -> None:
    clock = Clock()
    reply = await wait_for_rollout(mesh(clock, lambda now: status(5 if now >= 2 else 4)), 5, 10)
    assert reply.state == "programmed"
    assert clock.seconds >= 2


async def test_a_rejection_of_an_older_revision_may_still_heal() -> None:
    clock = Clock()

    def at(now: float) -> Status:
        healed = now > 3
        return status(5, sidecar("a", "synced", 5) if healed else sidecar("a", "rejected", 3, 4, 4))

    reply = await wait_for_rollout(mesh(clock, at), 5, 10)
    assert (reply.state, reply.rejecting_older) == ("programmed", ())


async def test_who_took_it_and_refuses_something_older_is_named() -> None:
    clock = Clock()

    def at(now: float) -> Status:
        return status(5, sidecar("a", "synced", 5), sidecar("b", "rejected", 3, 5 if now > 1 else 4, 4))

    reply = await wait_for_rollout(mesh(clock, at), 5, 10)
    assert (reply.state, reply.proxies, [one.name for one in reply.rejecting_older]) == (
        "programmed",
        (),
        ["b"],
    )
    assert clock.seconds > 1


async def test_who_took_it_and_refuses_something_newer_does_not_count() -> None:
    at = status(6, sidecar("a", "rejected", 5, 6, 6))
    assert (await wait_for_rollout(mesh(Clock(), lambda _: at), 5, 10)).state == "programmed"


async def test_a_rejection_that_stays_ends_it_with_envoys_words() -> None:
    clock = Clock()
    older = sidecar("c", "rejected", 3, 5, 4)
    at = status(5, sidecar("a", "rejected", 4, 5, 5), sidecar("b", "synced", 5), older)
    reply = await wait_for_rollout(mesh(clock, lambda _: at), 5, 10)
    assert (reply.state, [proxy.name for proxy in reply.proxies]) == ("rejected", ["a"])
    assert reply.proxies[0].error == "bad words"
    assert clock.seconds == 0


@pytest.mark.parametrize(("answers", "told"), [(1.0, ["a", "b"]), (5.0, ["a"])])
async def test_others_have_a_while_to_reject_it_too(answers: float, told: list[str]) -> None:
    clock = Clock()

    def at(now: float) -> Status:
        other = sidecar("b", "rejected", 4, 5, 5) if now >= answers else sidecar("b", "pending", 4)
        return status(5, sidecar("a", "rejected", 4, 5, 5), other)

    reply = await wait_for_rollout(mesh(clock, at), 5, 10)
    assert (reply.state, [proxy.name for proxy in reply.proxies]) == ("rejected", told)
    assert clock.seconds < REJECTION_GRACE_SECONDS + 0.2


async def test_time_runs_out_and_the_late_ones_are_named() -> None:
    clock = Clock()
    at = status(5, sidecar("a", "synced", 5), sidecar("b", "pending", 4), sidecar("c", "synced", 4))
    reply = await wait_for_rollout(mesh(clock, lambda _: at), 5, 2)
    assert (reply.state, [proxy.name for proxy in reply.proxies]) == ("timeout", ["b", "c"])
    assert 2 <= clock.seconds < 2.2
