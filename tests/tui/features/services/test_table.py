"""The service table: sort orders, and health as the control plane rates it."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.policies import AttachedPolicy, PolicyState, PolicyStatus
from meshwright.control_plane.api.models.topology import HealthThresholds, VersionTraffic
from meshwright.tui.features.policies.view_model import policy_label
from meshwright.tui.features.services import table
from meshwright.tui.features.services.detail_rows import instance_row, policy_row
from meshwright.tui.format import success_tone
from meshwright.tui.graph.versions import split_versions
from tests.fakes.fixture_parts import edge, node
from tests.fakes.scenarios import exchange


def names(order_name: str) -> list[str]:
    order = next(order for order in table.SORT_ORDERS if order.name == order_name)
    return [service.name for service in sorted(exchange().services.services, key=order.key)]


def test_sort_by_severity_puts_unhealthy_services_first() -> None:
    assert names("severity")[:2] == ["inventory", "orders"]
    assert names("severity")[-1] == "warehouse"


def test_sort_by_rate_and_by_success() -> None:
    assert names("rate")[0] == "ingress"
    assert names("success")[0] == "inventory"
    assert names("success")[-1] == "warehouse"  # without traffic nothing has failed


def test_every_sort_order_marks_an_existing_column() -> None:
    assert {order.title for order in table.SORT_ORDERS} <= {column.title for column in table.COLUMNS}


def test_97_percent_success_is_healthy_on_node_edge_and_version_alike() -> None:
    thresholds = HealthThresholds()
    version = VersionTraffic(version="v1", health="healthy", rps=10, success=0.97, p99_ms=5)
    call = edge("orders", "stock", 10, 0.97).model_copy(update={"versions": (version,)})
    assert success_tone(0.97, thresholds) == "plain"
    cells = table.edge_row(call, "stock").cells
    assert (cells[1].tone, cells[3].tone) == ("plain", "plain")
    topology = exchange().topology.model_copy(update={"nodes": (node("orders"),), "edges": (call,)})
    split = {split_node.name: split_node.health for split_node in split_versions(topology).nodes}
    assert split["stock/v1"] == "healthy"


@pytest.mark.parametrize(
    ("success", "tone"),
    [(1.0, "plain"), (0.95, "plain"), (0.949, "partial"), (0.5, "partial"), (0.499, "bad")],
)
def test_the_tone_of_a_success_rate_follows_the_control_planes_thresholds(success: float, tone: str) -> None:
    assert success_tone(success, HealthThresholds()) == tone
    strict = HealthThresholds(degraded_below=1.0, unhealthy_below=0.99)
    assert success_tone(success, strict) == ("plain" if success == 1 else "bad")


def attached(name: str, *, in_force: bool = True, state: PolicyState = "programmed") -> AttachedPolicy:
    overridden_by = "" if in_force else "Retry/inventory"
    return AttachedPolicy(
        kind="Retry",
        name=name,
        level="mesh",
        target="Mesh",
        in_force=in_force,
        overridden_by=overridden_by,
        state=state,
    )


def test_an_overridden_policy_is_not_shown_as_in_force() -> None:
    texts = [cell.text for cell in policy_row(attached("mesh", in_force=False), None).cells]
    assert texts == ["○", "Retry mesh", "mesh", "overridden", "overridden by Retry/inventory"]


@pytest.mark.parametrize("state", ["no-effect", "rejected", "conflicted", "programmed", "target-not-found"])
def test_a_policy_has_the_same_label_on_every_screen(state: PolicyState) -> None:
    status = PolicyStatus(kind="Retry", name="a", state=state, acked=2, affected=3)
    label = policy_label(status)
    cells = policy_row(attached("a", state=state), status).cells
    assert (cells[0].text, cells[0].tone) == (label.symbol, label.tone)
    assert label.text.startswith(cells[3].text)


def test_an_unhealthy_instance_shows_why_and_one_that_was_restarted_how_it_ended() -> None:
    def shown(**fields: object) -> list[str]:
        common = {"name": "back-1", "service": "back", "address": "127.0.0.1:1", "labels": {"version": "v1"}}
        status = InstanceStatus.model_validate({**common, "health": "healthy", **fields})
        return [cell.text for cell in instance_row(status, 0.0, 0.0).cells[4:6]]

    assert shown() == ["", "version=v1"]
    reason = "app: nothing listens on 127.0.0.1:8000"
    assert shown(health="unhealthy", reason=reason) == [reason, "version=v1"]
    ended = shown(restarts=2, last_exit="killed by SIGKILL")
    assert ended == ["restarted 2x, killed by SIGKILL", "version=v1"]
