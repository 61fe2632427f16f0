"""The stream of a tap: which proxies get the command how often, and how many requests a caller receives."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from meshwright.control_plane.admin.routers import tap
from meshwright.control_plane.admin.routers.tap import MAX_REQUESTS_PER_SECOND, TapParams, TapRouter
from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.cluster.requests import ClusterRequests
from meshwright.control_plane.errors import CommandTimeoutError, NotFoundError
from meshwright.control_plane.telemetry.requests.store import RequestStore
from tests.control_plane.telemetry.log_exports import record
from tests.fakes.members import FakeMembers


@dataclass
class TapLab:
    """A mesh whose time advances only while the stream sleeps. `arrivals`: new requests per sleep."""

    seconds: float = 0.0
    commands: list[tuple[str, str, str]] = field(default_factory=list)
    requests: RequestStore = field(default_factory=RequestStore)
    arrivals: list[int] = field(default_factory=list)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.seconds += seconds
        for number in range(self.arrivals.pop(0) if self.arrivals else 0):
            self.requests.add(record("orders", direction="inbound", request_id=f"{self.seconds}-{number}"))

    async def run_command(self, node: str, kind: str, argument: str, service: str = "") -> str:
        self.commands.append((node, kind, argument))
        if node == "orders-2":
            raise CommandTimeoutError("no response")
        return ""

    def proxies(self) -> list[ProxyDetail]:
        return [
            ProxyDetail(
                name=name, service=name[:-2], state="synced", revision=1, connected=name != "orders-3"
            )
            for name in ("orders-1", "orders-2", "orders-3", "catalog-1")
        ]

    def router(self) -> TapRouter:
        requests = ClusterRequests(self.requests, FakeMembers("here"))
        return TapRouter(
            requests, self.proxies, self.run_command, tuple, monotonic=self.monotonic, sleep=self.sleep
        )


async def tap_events(lab: TapLab, polls: int) -> list[tuple[str, dict[str, Any]]]:
    """The events that a caller receives within so many polls."""
    blocks = lab.router().stream(TapParams(service="orders"), "")
    text = "".join([await anext(blocks) for _ in range(polls + 1)])
    await blocks.aclose()  # type: ignore[attr-defined]
    events = [block.split("\n") for block in text.split("\n\n") if block.startswith("event")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in events]


async def test_connected_proxies_are_tapped_again_every_few_seconds() -> None:
    lab = TapLab()
    events = await tap_events(lab, round(9 / tap.POLL_SECONDS))
    assert {name for name, _, _ in lab.commands} == {"orders-1", "orders-2"}
    assert {(kind, argument) for _, kind, argument in lab.commands} == {("tap", str(tap.TAP_SECONDS))}
    assert len(lab.commands) == 2 * 3, "at 0, 4 and 8 seconds"
    (state,) = [event for name, event in events if name == "state"]
    assert (state["proxies"], state["tapping"], state["not_tapping"]) == (2, 1, ["orders-2"])


async def test_new_requests_are_sent_in_order() -> None:
    events = await tap_events(TapLab(arrivals=[2, 0, 1]), 4)
    sent = [event["request"]["id"] for name, event in events if name == "request"]
    assert sent == ["0.25-0", "0.25-1", "0.75-0"]


async def test_requests_above_the_rate_limit_are_counted_not_sent() -> None:
    arrivals = [3 * MAX_REQUESTS_PER_SECOND, MAX_REQUESTS_PER_SECOND, 0, 0, 0, 10]
    events = await tap_events(TapLab(arrivals=arrivals), 8)
    sent = [name for name, _ in events].count("request")
    omitted = sum(event["omitted"] for name, event in events if name == "more")
    refill = MAX_REQUESTS_PER_SECOND * tap.POLL_SECONDS
    assert sent == MAX_REQUESTS_PER_SECOND + refill + 10
    assert sent + omitted == 4 * MAX_REQUESTS_PER_SECOND + 10


async def test_a_service_without_a_proxy_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no such service or gateway: nobody: see"):
        await anext(TapLab().router().stream(TapParams(service="nobody"), ""))
