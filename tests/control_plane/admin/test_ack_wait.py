"""Waiting for ACKs: a clock that only advances while the wait sleeps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshwright.control_plane.admin.ack_wait import REJECTION_GRACE_SECONDS, wait_for_acks
from meshwright.control_plane.api.models.proxies import ProxyStatus, WaitResult
from meshwright.control_plane.api.models.status import Status


def sidecar(name: str, state: str, revision: int, responded: int = 0, rejected: int = 0) -> ProxyStatus:
    """A sidecar of orders."""
    return ProxyStatus.model_validate(
        {
            "name": name, "service": "orders", "state": state, "revision": revision, "error": "bad words",
            "responded_revision": responded, "rejected_revision": rejected,
        }
    )  # fmt: skip


class Clock:
    """Seconds that pass only by sleeping."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds


async def wait(clock: Clock, status_at: Callable[[float], Status], timeout: float = 10) -> WaitResult:  # noqa: ASYNC109
    """Wait for revision 5 of a mesh whose status depends on the time."""

    async def status() -> Status:
        return status_at(clock.seconds)

    return await wait_for_acks(status, 5, timeout, monotonic=clock.monotonic, sleep=clock.sleep)


def status(revision: int, *proxies: ProxyStatus) -> Status:
    """A status with these sidecars."""
    return Status(revision=revision, store="ok", proxies=proxies)


async def test_wait_ends_when_the_slowest_connected_sidecar_has_acked() -> None:
    clock = Clock()
    disconnected = sidecar("c", "disconnected", 0)

    def at(now: float) -> Status:
        slow = sidecar("b", "synced", 5) if now >= 3 else sidecar("b", "pending", 4)
        return status(5, sidecar("a", "synced", 5), slow, disconnected)

    result = await wait(clock, at)
    assert (result.state, result.proxies) == ("programmed", ())
    assert 3 <= clock.seconds < 3.2


async def test_wait_continues_until_the_control_plane_serves_the_revision() -> None:
    clock = Clock()
    result = await wait(clock, lambda now: status(5 if now >= 2 else 4))
    assert result.state == "programmed"
    assert clock.seconds >= 2


async def test_a_rejection_of_an_older_revision_may_still_be_resolved() -> None:
    clock = Clock()

    def at(now: float) -> Status:
        resolved = now > 3
        return status(5, sidecar("a", "synced", 5) if resolved else sidecar("a", "rejected", 3, 4, 4))

    result = await wait(clock, at)
    assert (result.state, result.rejecting_older) == ("programmed", ())


async def test_a_sidecar_that_acked_it_but_rejects_something_older_is_named() -> None:
    clock = Clock()

    def at(now: float) -> Status:
        return status(5, sidecar("a", "synced", 5), sidecar("b", "rejected", 3, 5 if now > 1 else 4, 4))

    result = await wait(clock, at)
    assert (result.state, result.proxies) == ("programmed", ())
    assert [proxy.name for proxy in result.rejecting_older] == ["b"]
    assert clock.seconds > 1


async def test_a_sidecar_that_acked_it_but_rejects_something_newer_does_not_count() -> None:
    at = status(6, sidecar("a", "rejected", 5, 6, 6))
    assert (await wait(Clock(), lambda _: at)).state == "programmed"


async def test_a_rejection_by_all_that_are_behind_ends_the_wait_at_once_with_envoys_error() -> None:
    clock = Clock()
    older = sidecar("c", "rejected", 3, 5, 4)
    at = status(5, sidecar("a", "rejected", 4, 5, 5), sidecar("b", "synced", 5), older)
    result = await wait(clock, lambda _: at)
    assert (result.state, [proxy.name for proxy in result.proxies]) == ("rejected", ["a"])
    assert result.proxies[0].error == "bad words"
    assert clock.seconds == 0


@pytest.mark.parametrize(("responds_at", "rejected_by"), [(1.0, ["a", "b"]), (5.0, ["a"])])
async def test_others_have_a_grace_period_to_reject_it_too(
    responds_at: float, rejected_by: list[str]
) -> None:
    clock = Clock()

    def at(now: float) -> Status:
        other = sidecar("b", "rejected", 4, 5, 5) if now >= responds_at else sidecar("b", "pending", 4)
        return status(5, sidecar("a", "rejected", 4, 5, 5), other)

    result = await wait(clock, at)
    assert (result.state, [proxy.name for proxy in result.proxies]) == ("rejected", rejected_by)
    assert clock.seconds < REJECTION_GRACE_SECONDS + 0.2


async def test_a_timeout_names_the_sidecars_that_are_behind() -> None:
    clock = Clock()
    at = status(5, sidecar("a", "synced", 5), sidecar("b", "pending", 4), sidecar("c", "synced", 4))
    result = await wait(clock, lambda _: at, timeout=2)
    assert (result.state, [proxy.name for proxy in result.proxies]) == ("timeout", ["b", "c"])
    assert 2 <= clock.seconds < 2.2


@pytest.mark.parametrize(
    ("published", "changed", "state"), [(5, 4, "programmed"), (5, 5, "timeout"), (4, 4, "timeout")]
)
async def test_wait_leaves_out_who_owes_only_an_older_revision(
    published: int, changed: int, state: str
) -> None:
    silent = sidecar("b", "pending", 0).model_copy(
        update={"published_revision": published, "changed_revision": changed}
    )
    result = await wait(Clock(), lambda _now: status(5, sidecar("a", "synced", 5), silent))
    assert result.state == state
    assert [proxy.name for proxy in result.pending_older] == (["b"] if state == "programmed" else [])
