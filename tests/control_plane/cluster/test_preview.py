"""A preview names the proxies of every control plane that a change affects."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import PREVIEW_CHANGE
from meshwright.control_plane.cluster.preview import ChangePreview
from meshwright.control_plane.core.snapshot import Bindings, ResourceKey
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.status.preview import Viewer
from tests.control_plane.core.worlds import exchange, mesh
from tests.control_plane.status.test_preview import bodies
from tests.fakes.members import FakeMembers, connected_members

TIMEOUT = mesh("Timeout", "t", "request: 3s", "{kind: Service, name: catalog}")


class Proxies:
    """Connected proxies with these names, all of one service, which get every resource of it."""

    def __init__(self, service: str, names: tuple[str, ...]) -> None:
        self._viewer = (Identity("mesh.local", "service", service), Bindings(outbound=15001))
        self._names = names

    def viewers(self) -> frozenset[Viewer]:
        return frozenset({self._viewer})

    def affected_proxies(
        self, changed: Mapping[Viewer, Collection[ResourceKey]]
    ) -> tuple[tuple[str, str], ...]:
        service = self._viewer[0].name
        return tuple((service, name) for name in self._names) if changed.get(self._viewer) else ()


def preview(members: FakeMembers, *proxies: str, service: str = "orders") -> ChangePreview:
    """A control plane with these proxies."""
    served = translate(exchange())
    return ChangePreview(lambda: served, Proxies(service, proxies), members)


async def test_affected_proxies_include_those_of_peers() -> None:
    first, second = connected_members(2)
    here, _ = preview(first, "orders-2", "orders-1"), preview(second, "front-1", "orders-1")
    document_diff, affected = await here.dry_run([], bodies(TIMEOUT))
    assert affected == ("front-1", "orders-1", "orders-2")
    assert document_diff.startswith("--- /dev/null\n+++ b/Timeout/t")
    assert await here.dry_run(bodies(TIMEOUT), bodies(TIMEOUT)) == ("", ())
    _, planned = await here.plan([], bodies(TIMEOUT))
    assert planned == {("orders", "front-1"), ("orders", "orders-1"), ("orders", "orders-2")}
    second.bodies[PREVIEW_CHANGE.name] = pb.PreviewResponse(proxies=["front-1"]).SerializeToString()
    _, planned = await here.plan([], bodies(TIMEOUT))
    assert planned == {("", "front-1"), ("orders", "orders-1"), ("orders", "orders-2")}


async def test_a_change_for_one_caller_affects_no_other() -> None:
    change = bodies(mesh("Timeout", "t", "from: [orders], request: 3s", "{kind: Service, name: catalog}"))
    assert (await preview(FakeMembers(), "orders-1").dry_run([], change))[1] == ("orders-1",)
    assert (await preview(FakeMembers(), "front-1", service="storefront").dry_run([], change))[1] == ()


async def test_warnings_and_diff_compare_with_what_is_served() -> None:
    here = preview(FakeMembers())
    unresolved = bodies(mesh("Timeout", "t", "request: 3s", "{kind: Service, name: nobody}"))
    assert here.warnings(bodies(TIMEOUT)) == []
    assert "no Service nobody" in here.warnings(unresolved)[0]
    plan, affected = await here.plan([], bodies(TIMEOUT))
    assert "+++ b/Timeout/t" in plan.document_diff
    assert "+    timeout: 3s" in plan.resource_diff
    assert affected == frozenset()


async def test_request_with_an_invalid_document_is_rejected() -> None:
    members = FakeMembers()
    preview(members)
    request = pb.PreviewRequest(before_json=[b"{"])
    with pytest.raises(InputError, match="invalid document"):
        await members.respond(PREVIEW_CHANGE.name, request.SerializeToString())
