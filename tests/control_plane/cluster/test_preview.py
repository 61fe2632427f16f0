"""A preview names the proxies of every control plane that a change affects."""

from __future__ import annotations

import pytest

from meshwright.control_plane.cluster import cluster_pb2 as pb
from meshwright.control_plane.cluster.methods import PREVIEW_CHANGE
from meshwright.control_plane.cluster.preview import ChangePreview
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.errors import InputError
from tests.control_plane.core.worlds import exchange, mesh
from tests.control_plane.status.test_preview import bodies
from tests.fakes.members import FakeMembers, connected_members

TIMEOUT = mesh("Timeout", "t", "request: 3s", "{kind: Service, name: catalog}")


def preview(members: FakeMembers, *proxies: str) -> ChangePreview:
    """A control plane at which these proxies are affected by any difference."""
    served = translate(exchange())
    return ChangePreview(lambda: served, lambda old, new: proxies if new.changed_from(old) else (), members)


async def test_affected_proxies_include_those_of_peers() -> None:
    first, second = connected_members(2)
    here, _ = preview(first, "orders-2", "orders-1"), preview(second, "front-1", "orders-1")
    assert await here.affected_proxies([], bodies(TIMEOUT)) == ("front-1", "orders-1", "orders-2")
    assert await here.affected_proxies(bodies(TIMEOUT), bodies(TIMEOUT)) == ()


def test_warnings_and_diff_compare_with_what_is_served() -> None:
    here = preview(FakeMembers())
    unresolved = bodies(mesh("Timeout", "t", "request: 3s", "{kind: Service, name: nobody}"))
    assert here.warnings(bodies(TIMEOUT)) == []
    assert "no Service nobody" in here.warnings(unresolved)[0]
    assert "+    timeout: 3s" in here.resource_diff([], bodies(TIMEOUT))


async def test_request_with_an_invalid_document_is_rejected() -> None:
    members = FakeMembers()
    preview(members)
    request = pb.PreviewRequest(before_json=[b"{"])
    with pytest.raises(InputError, match="invalid document"):
        await members.respond(PREVIEW_CHANGE.name, request.SerializeToString())
