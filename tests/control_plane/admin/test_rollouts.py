"""Rollouts by the API: a move is a revision, and happens once."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.admin.protocols import unverified
from meshwright.control_plane.admin.rollout_editor import RolloutEditor
from meshwright.control_plane.api import calls
from meshwright.control_plane.api.client import Client
from meshwright.control_plane.api.errors import ApiError
from meshwright.control_plane.policies.rollout.progress import RolloutProgress, progress_of
from meshwright.control_plane.policies.rollout.spec import Rollout
from tests.fakes.admin_server import FakeMesh

BODY: dict[str, Any] = {
    "apiVersion": "meshwright.io/v1",
    "kind": "Rollout",
    "metadata": {"name": "orders"},
    "spec": {
        "route": {"name": "orders"},
        "stable": {"name": "orders"},
        "canary": {"name": "orders-next"},
        "steps": [{"weight": 10}, {"weight": 50}],
    },
}


async def standing(client: Client) -> RolloutProgress:
    """Where the rollout of the newest revision stands."""
    (document,) = (await client.policies("Rollout", "orders")).documents
    return progress_of(Rollout.model_validate(document))


async def apply(client: Client, **spec: Any) -> None:
    document = {**BODY, "spec": {**BODY["spec"], **spec}}
    await client.apply([calls.SourcedDocument(document)])


async def test_steering_makes_a_revision_with_its_author(mesh: FakeMesh, client: Client) -> None:
    await apply(client)
    options = calls.ChangeOptions(author="ann", message="checked by hand")
    done = await client.steer_rollout("orders", "promote", options)
    assert (await standing(client)).step == 1
    newest = (await client.history())[0]
    assert (newest.revision, newest.author, newest.message) == (done.revision, "ann", "checked by hand")
    await apply(client, steps=[{"weight": 20}, {"weight": 60}])
    assert (await standing(client)).step == 1


@pytest.mark.parametrize(
    ("name", "action", "message"),
    [("ordres", "pause", "did you mean"), ("orders", "resume", "is not paused")],
)
async def test_steering_in_vain_changes_nothing(
    mesh: FakeMesh, client: Client, name: str, action: Any, message: str
) -> None:
    await apply(client)
    revisions = len(mesh.store.revisions)
    with pytest.raises(ApiError, match=message):
        await client.steer_rollout(name, action)
    assert len(mesh.store.revisions) == revisions


async def test_a_move_is_made_only_from_where_it_was_decided(mesh: FakeMesh, client: Client) -> None:
    await apply(client)
    editor = RolloutEditor(mesh.store, mesh, unverified)
    first, second = RolloutProgress(1, since=5.0, reason="one"), RolloutProgress(2, since=6.0, reason="two")
    await editor.move("orders", RolloutProgress(), first)
    revisions = len(mesh.store.revisions)
    await editor.move("orders", RolloutProgress(), second)
    await editor.move("gone", RolloutProgress(), second)
    assert (await standing(client), len(mesh.store.revisions)) == (first, revisions)


async def test_a_rollback_pauses_the_rollout_that_it_puts_back(mesh: FakeMesh, client: Client) -> None:
    await apply(client)
    await client.steer_rollout("orders", "promote")
    before = (await client.history())[0].revision
    await client.steer_rollout("orders", "promote-fully")
    await client.rollback(before)
    progress = await standing(client)
    assert (progress.step, progress.phase) == (1, "Paused")
