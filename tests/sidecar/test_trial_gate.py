"""TrialGate: how it answers Envoy's checks, with a fake admin interface and a real clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from meshwright.control_plane.api import trials
from meshwright.sidecar.envoy_admin import EnvoyAdminError
from meshwright.sidecar.trial_gate import TrialGate
from meshwright.sidecar.trial_probe import TrialTarget

ADDRESS = "10.0.0.1:15006"
WITHIN = 30.0


class FakeAdmin:
    """Envoy's `/clusters`, with one host."""

    def __init__(self, **health: bool) -> None:
        self.health: dict[str, bool] | None = dict(health)
        self.away = False

    async def clusters(self) -> dict[str, Any]:
        if self.away:
            raise EnvoyAdminError("away")
        if self.health is None:
            return {}
        address = {"socket_address": {"address": "10.0.0.1", "port_value": 15006}}
        host = {"address": address, "health_status": self.health}
        return {"cluster_statuses": [{"name": "back", "host_statuses": [host]}]}


class Trials:
    """Trials that end when the test says so."""

    def __init__(self) -> None:
        self.targets: asyncio.Queue[TrialTarget] = asyncio.Queue()
        self.outcomes: asyncio.Queue[str] = asyncio.Queue()

    async def run(self, target: TrialTarget) -> str:
        self.targets.put_nowait(target)
        return await self.outcomes.get()


def headers(open_for_ms: int = 50) -> dict[str, str]:
    return {
        trials.CLUSTER_HEADER: "back",
        trials.OPEN_FOR_HEADER: str(open_for_ms),
        trials.PROTOCOL_HEADER: "http",
        trials.PATH_HEADER: "/health",
    }


def gate_of(admin: FakeAdmin, made: Trials) -> TrialGate:
    return TrialGate("front-1", admin, made.run)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["pending", "failed while Envoy started", "unknown", "no admin"])
async def test_an_instance_that_passed_no_check_yet_needs_no_trial(case: str) -> None:
    made = Trials()
    admin = FakeAdmin(pending_active_hc=case == "pending", failed_active_health_check=True)
    admin.health = None if case == "unknown" else admin.health
    admin.away = case == "no admin"
    assert await asyncio.wait_for(gate_of(admin, made).answer(ADDRESS, headers()), WITHIN) == 200
    assert made.targets.empty()


async def test_a_check_of_a_healthy_instance_is_held_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trials, "HOLD_LIMIT", 0.05)
    made = Trials()
    assert await gate_of(FakeAdmin(), made).answer(ADDRESS, headers()) == trials.UNDECIDED
    assert made.targets.empty()


@pytest.mark.parametrize(("failure", "answer"), [("", 200), ("it returned 503", trials.FAILED)])
async def test_the_trial_of_an_ejected_instance_decides(failure: str, answer: int) -> None:
    admin, made = FakeAdmin(), Trials()
    gate = gate_of(admin, made)
    check = asyncio.create_task(gate.answer(ADDRESS, headers()))
    await asyncio.sleep(0)
    admin.health = {"failed_outlier_check": True}
    await gate.read_clusters()
    target = await asyncio.wait_for(made.targets.get(), WITHIN)
    assert (target.instance.address, target.host, target.path) == (ADDRESS, "back", "/health")
    assert gate.book.collect()["back"].half_open == 1
    made.outcomes.put_nowait(failure)
    assert await asyncio.wait_for(check, WITHIN) == answer


async def test_an_instance_that_a_failed_trial_keeps_out_is_tried_again() -> None:
    admin, made = FakeAdmin(failed_outlier_check=True), Trials()
    gate = gate_of(admin, made)
    made.outcomes.put_nowait("it returned 503")
    assert await asyncio.wait_for(gate.answer(ADDRESS, headers()), WITHIN) == trials.FAILED
    admin.health = {"failed_active_health_check": True}  # the time of ejection has ended
    made.outcomes.put_nowait("")
    assert await asyncio.wait_for(gate.answer(ADDRESS, headers()), WITHIN) == 200
    assert made.targets.qsize() == 2


async def test_a_check_that_envoy_gives_up_leaves_the_trial_due() -> None:
    admin, made = FakeAdmin(failed_outlier_check=True), Trials()
    gate = gate_of(admin, made)
    check = asyncio.create_task(gate.answer(ADDRESS, headers()))
    target = await asyncio.wait_for(made.targets.get(), WITHIN)
    check.cancel()
    await asyncio.gather(check, return_exceptions=True)
    assert gate.book.due(target.instance, 0.05) is not None


@pytest.mark.parametrize("missing", [trials.CLUSTER_HEADER, trials.OPEN_FOR_HEADER])
async def test_what_is_no_check_is_refused(missing: str) -> None:
    incomplete = {key: value for key, value in headers().items() if key != missing}
    with pytest.raises(ValueError, match="not a check"):
        await gate_of(FakeAdmin(), Trials()).answer(ADDRESS, incomplete)
