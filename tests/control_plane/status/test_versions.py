"""Differences of versions in the status of the mesh."""

from __future__ import annotations

from meshwright.control_plane.api.models.proxies import ProxyReport
from meshwright.control_plane.api.models.status import ControlPlaneStatus
from meshwright.control_plane.status.versions import version_skews


def _report(node: str, agent: str, envoy: str = "1.40.0") -> ProxyReport:
    return ProxyReport(node=node, service="shop", agent=agent, version=envoy)


def test_a_mesh_of_one_version_has_no_skew() -> None:
    assert version_skews("0.2.0", (), [_report("shop-1", "0.2.0"), _report("shop-2", "0.2.0")]) == ()
    assert version_skews("0.2.0", (), ()) == ()


def test_agents_envoys_and_control_planes_that_differ_are_named() -> None:
    planes = (
        ControlPlaneStatus(address="10.0.0.1:15012", version="0.2.0", state="this"),
        ControlPlaneStatus(address="10.0.0.2:15012", version="0.1.0", state="reachable"),
    )
    skews = version_skews("0.2.0", planes, [_report("shop-1", "0.2.0"), _report("shop-2", "1.0.0", "1.39.3")])
    assert [(skew.supported, skew.message) for skew in skews] == [
        (True, "control plane of 10.0.0.2:15012: version 0.1.0, the control plane has 0.2.0"),
        (
            False,
            "agent of shop/shop-2: version 1.0.0, the control plane has 0.2.0, more than one minor version "
            "apart, which is not supported",
        ),
        (True, "Envoys of several versions run: 1.39.3 (shop/shop-2), 1.40.0 (shop/shop-1)"),
    ]
