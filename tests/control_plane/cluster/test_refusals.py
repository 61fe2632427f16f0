"""What policies refuse is the same list at every control plane, whoever counted it."""

from __future__ import annotations

from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.refusals import ClusterRefusals
from meshwright.control_plane.telemetry.requests.refusal_history import RefusalHistory
from tests.control_plane.telemetry.requests.test_refusal_history import NOW, refusal
from tests.fakes.members import connected_members


async def test_every_control_plane_lists_what_all_counted() -> None:
    histories, members = [RefusalHistory(), RefusalHistory()], connected_members(2)
    both = [
        ClusterRefusals(history, member, lambda: NOW)
        for history, member in zip(histories, members, strict=True)
    ]
    histories[0].add([refusal(2)], NOW)
    histories[1].add([refusal(1), refusal(5, caller="web")], NOW)
    for refusals in both:
        assert [(c.caller, c.total) for c in (await refusals.list()).refusals] == [("web", 5), ("front", 3)]


async def test_peer_that_lists_something_else_is_left_out() -> None:
    history, members = RefusalHistory(), connected_members(2)
    history.add([refusal()], NOW)
    refusals = ClusterRefusals(history, members[0], lambda: NOW)
    members[1].bodies["ListRefusals"] = pb.RefusalList(refusals_json=[b"{}"]).SerializeToString()
    assert [count.total for count in (await refusals.list()).refusals] == [1]
