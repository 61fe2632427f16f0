"""The stream of a tap: who is asked how often, and how many requests a listener is shown."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from meshwright.control_plane.admin.context import AdminContext
from meshwright.control_plane.admin.routers import tap
from meshwright.control_plane.admin.routers.tap import MAX_REQUESTS_PER_SECOND, TapParams, stream
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.cluster.requests import ClusterRequests
from meshwright.control_plane.errors import CommandTimeoutError, NotFoundError
from meshwright.control_plane.telemetry.requests.store import RequestStore
from tests.control_plane.admin.test_wait import status
from tests.control_plane.telemetry.records import record
from tests.fakes.admin_server import FakeTokens
from tests.fakes.members import FakeMembers
from tests.fakes.store import FakeStore


@dataclass
class Lab:
    """A mesh whose time passes only while somebody pauses; what comes meanwhile is in `coming`."""

    at: float = 0.0
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    kept: RequestStore = field(default_factory=RequestStore)
    coming: list[int] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.at += seconds
        for number in range(self.coming.pop(0) if self.coming else 0):
            self.kept.add(record("orders", direction="inbound", request_id=f"{self.at}-{number}"))

    async def ask(self, node: str, kind: str, argument: str) -> str:
        self.asked.append((node, kind, argument))
        if node == "orders-2":
            raise CommandTimeoutError("silent")
        return ""

    def proxies(self) -> list[ProxyDetail]:
        return [
            ProxyDetail(
                name=name, service=name[:-2], state="synced", revision=1, connected=name != "orders-3"
            )
            for name in ("orders-1", "orders-2", "orders-3", "catalog-1")
        ]

    def mesh(self) -> AdminContext:
        async def current() -> Any:
            return status(1)

        return AdminContext(
            revisions=FakeStore(), status=current, instances=lambda: (), tokens=FakeTokens(), now=self.now,
            sleep=self.pause, proxies=self.proxies, run_command=self.ask,
            requests=ClusterRequests(self.kept, FakeMembers("here")),
        )  # fmt: skip


async def told(lab: Lab, looks: int) -> list[tuple[str, dict[str, Any]]]:
    """The events of a listener who looks so often."""
    blocks: AsyncIterator[str] = stream(lab.mesh(), TapParams(service="orders"), "")
    text = "".join([await anext(blocks) for _ in range(looks + 1)])
    await blocks.aclose()  # type: ignore[attr-defined]
    events = [one.split("\n") for one in text.split("\n\n") if one.startswith("event")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in events]


async def test_connected_proxies_are_asked_for_a_while_again_and_again() -> None:
    lab = Lab()
    events = await told(lab, round(9 / tap.POLL_SECONDS))
    assert {name for name, _, _ in lab.asked} == {"orders-1", "orders-2"}
    assert {(kind, argument) for _, kind, argument in lab.asked} == {("tap", str(tap.TAP_SECONDS))}
    assert len(lab.asked) == 2 * 3, "at 0, 4 and 8 seconds"
    (state,) = [one for name, one in events if name == "state"]
    assert (state["proxies"], state["listening"], state["silent"]) == (2, 1, ["orders-2"])


async def test_what_came_is_shown_in_order() -> None:
    events = await told(Lab(coming=[2, 0, 1]), 4)
    shown = [one["request"]["id"] for name, one in events if name == "request"]
    assert shown == ["0.25-0", "0.25-1", "0.75-0"]


async def test_too_many_at_a_time_are_counted_not_shown() -> None:
    events = await told(Lab(coming=[3 * MAX_REQUESTS_PER_SECOND, MAX_REQUESTS_PER_SECOND, 0, 0, 0, 10]), 8)
    shown = [name for name, _ in events].count("request")
    more = sum(one["more"] for name, one in events if name == "more")
    room = MAX_REQUESTS_PER_SECOND * tap.POLL_SECONDS
    assert shown == MAX_REQUESTS_PER_SECOND + room + 10
    assert shown + more == 4 * MAX_REQUESTS_PER_SECOND + 10


async def test_a_service_without_a_proxy_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no proxy of nobody"):
        await anext(stream(Lab().mesh(), TapParams(service="nobody"), ""))
