"""A change of every view of a large mesh: Envoy checks all of it, and one view at a time is in memory."""

from __future__ import annotations

import pickle
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.verification.candidates import Candidate
from meshwright.control_plane.verification.scratch_envoy import ScratchEnvoy
from meshwright.control_plane.verification.verifier import EnvoyVerdict, Verifier, _compare
from meshwright.control_plane.worker.process import RESULT_BYTES
from tests.control_plane.core.worlds import mesh, service, world

SERVICES = 300
BUDGET = 600.0

Edit = tuple[list[dict[str, Any]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def large_world() -> World:
    return world(*(service(f"service-{number}") for number in range(SERVICES)))


def edit(last: str = "") -> Edit:
    """A change of the inbound listener of every service, and of its callers' routes and clusters."""
    text = mesh("MutualTLS", "all", "mode: Permissive")
    for number in range(SERVICES):
        target = f"{{kind: Service, name: service-{number}}}"
        text += mesh("Retry", f"r-{number}", f"attempts: {number % 9 + 1}", target)
        text += mesh("CircuitBreaker", f"b-{number}", f"maxRequests: {number + 1}", target)
    return [], [body for body in YAML(typ="safe", pure=False).load_all(text + last) if body]


@pytest.fixture
async def verifier(large_world: World, tmp_path: Path) -> AsyncIterator[Verifier]:
    served = translate(large_world)
    verifier = Verifier(lambda: served, ScratchEnvoy(tmp_path), lambda _: None, BUDGET)
    yield verifier
    await verifier.stop()


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_every_view_of_a_large_mesh_is_verified(verifier: Verifier) -> None:
    assert await verifier.verify(*edit()) == EnvoyVerdict()
    zero = "operations: [{op: add, path: /connect_timeout, value: 0s}]"
    patches = f"patches: [{{type: Cluster, name: service-7, {zero}}}]"
    bad = mesh("EnvoyPatch", "p", patches, "{kind: Service, name: service-299}")
    (objection,) = (await verifier.verify(*edit(bad))).objections
    assert (objection.resource, objection.owner) == ("Cluster service-7", "service-299")


def test_a_part_is_small_in_a_large_mesh(large_world: World) -> None:
    sizes = [
        len(pickle.dumps(part))
        for part in _compare(large_world, None, edit(), (), True)
        if isinstance(part, Candidate)
    ]
    assert len(sizes) >= SERVICES
    assert sum(sizes) > RESULT_BYTES > 5 * max(sizes)
