"""`mesh version`: the table, and which versions do not belong together."""

from __future__ import annotations

import json

import pytest

from meshwright.control_plane.api.models.proxies import ProxyDetail
from meshwright.control_plane.api.models.status import ControlPlaneStatus, Status
from meshwright.control_plane.api.software_version import VERSION
from meshwright.control_plane.api.version_skew import by_version, find_skews, is_supported
from tests.cli.conftest import RunMesh
from tests.fakes.admin_server import FakeMesh


def _proxy(name: str, agent: str, envoy: str = "1.40.0") -> ProxyDetail:
    return ProxyDetail(
        name=name, service="orders", state="synced", revision=1, connected=True, reported=True,
        agent=agent, version=envoy,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("version", "other", "supported"),
    [("0.1.0", "0.2.3", True), ("0.2", "0.1.9", True), ("0.1.0", "0.3.0", False), ("1.0.0", "0.9.0", False)],
)
def test_neighbours_of_one_minor_version_are_supported(version: str, other: str, supported: bool) -> None:
    assert is_supported(version, other) is supported


def test_each_part_is_compared_with_the_newest_control_plane() -> None:
    parts = (
        *by_version("client", {"this command": "0.2.0"}),
        *by_version("control plane", {"10.0.0.1:15010": "0.2.0", "10.0.0.2:15010": "0.1.0"}),
        *by_version("agent", {"a/a-1": "0.2.0", "a/a-2": "", "b/b-1": "0.0.9", "b/b-2": "0.0.9"}),
        *by_version("Envoy", {"a/a-1": "1.40.0", "a/a-2": "1.40.0", "b/b-1": "1.39.1"}),
    )
    skews = find_skews(parts)
    assert [(skew.supported, skew.message.split(":")[0]) for skew in skews] == [
        (True, "control plane of 10.0.0.2"), (False, "agent of b/b-1, b/b-2"), (True, "agent of a/a-2"),
        (True, "Envoys of several versions run"),
    ]  # fmt: skip
    assert "1.40.0 (a/a-1, a/a-2), 1.39.1 (b/b-1)" in skews[-1].message
    newer = find_skews((*by_version("client", {"": "0.3.0"}), *by_version("control plane", {"": "0.2.0"})))
    assert newer[0].message.endswith("run `mesh upgrade`")
    assert find_skews(by_version("client", {"": "0.3.0"})) == ()


def test_agents_that_cannot_be_replaced_in_place_have_the_advice_of_mesh_upgrade() -> None:
    parts = (
        *by_version("control plane", {"": "0.2.0"}),
        *by_version("agent", {"a/a-1": "0.1.0", "a/a-2": "0.1.0", "b/b-1": ""}),
    )
    skews = find_skews(parts, {"a/a-2": "start it again", "b/b-1": "start it again"})
    assert [(skew.difference.split(":")[0], skew.advice) for skew in skews] == [
        ("agent of a/a-1", "run `mesh upgrade` there"),
        ("agent of a/a-2", "start it again"),
        ("agent of b/b-1", "start it again"),
    ]


async def test_versions_are_listed_with_what_differs(mesh: FakeMesh, run: RunMesh) -> None:
    mesh.status = Status(revision=1, store="ok", version=VERSION)
    mesh.details = (*(_proxy(f"orders-{n}", VERSION) for n in range(4)), _proxy("old-1", "99.0.0"))
    shown = await run("version")
    assert [" ".join(line.split()) for line in shown.out.splitlines()] == [
        "COMPONENT VERSION WHERE",
        f"client {VERSION} this command",
        f"control plane {VERSION} this mesh",
        f"agent {VERSION} orders/orders-0, orders/orders-1, orders/orders-2 and 1 more",
        "agent 99.0.0 orders/old-1",
        "Envoy 1.40.0 orders/old-1, orders/orders-0, orders/orders-1 and 2 more",
        f"× agent of orders/old-1: version 99.0.0, the control plane has {VERSION}, more than one minor "
        "version apart, which is not supported: run `mesh upgrade`",
    ]  # fmt: skip
    planes = (
        ControlPlaneStatus(address="10.0.0.1:15010", state="this", version=VERSION),
        ControlPlaneStatus(address="10.0.0.2:15010", state="reachable"),
    )
    mesh.status = Status(revision=1, store="ok", version=VERSION, control_planes=planes)
    listed = json.loads((await run("version", "-o", "json")).out)
    assert {(item["component"], item["version"]) for item in listed["items"]} == {
        ("client", VERSION), ("control plane", VERSION), ("control plane", ""), ("agent", VERSION),
        ("agent", "99.0.0"), ("Envoy", "1.40.0"),
    }  # fmt: skip
    assert [skew["supported"] for skew in listed["skews"]] == [True, False]


async def test_the_client_alone_needs_no_mesh(run: RunMesh) -> None:
    alone = await run("version", "--client")
    assert (alone.code, alone.out.split()[-4:]) == (0, ["client", VERSION, "this", "command"])
    assert (await run("version")).code == 3
