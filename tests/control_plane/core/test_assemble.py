"""Stored state → World: unchanged parts stay the same object."""

from __future__ import annotations

from meshwright.control_plane.api.models.instances import Port, Registration
from meshwright.control_plane.core.assemble import Assembler, CanonicalPolicy
from tests.control_plane.core.worlds import documents, mesh

PORTS = {"a": (Port(),), "b": (Port(),)}


def text(name: str) -> str:
    (policy_document,) = documents(mesh("Timeout", name, "request: 1s"))
    return policy_document.policy.model_dump_json(by_alias=True, exclude_unset=True)


def registration(name: str, service: str, port: int = 1) -> Registration:
    return Registration(instance=name, service=service, address="127.0.0.1", port=port)


def test_world_unchanged_parts_are_the_same_objects() -> None:
    assembler = Assembler("mesh.local")
    canonical_policy, two = CanonicalPolicy(text("one"), 1), CanonicalPolicy(text("two"), 2)
    first = assembler.world(
        1, [two, canonical_policy], PORTS, [registration("a-1", "a"), registration("b-1", "b")]
    )
    again = assembler.world(
        2, [canonical_policy, two], PORTS, [registration("b-1", "b"), registration("a-1", "a", 2)]
    )
    assert again.documents is first.documents
    assert [document.ref for document in again.documents] == ["Timeout/one", "Timeout/two"]
    assert again.services["b"] is first.services["b"]
    assert again.services["a"].instances[0].port == 2


def test_world_unreadable_document_is_skipped_and_reported_until_it_is_gone() -> None:
    assembler = Assembler("mesh.local")
    bad = CanonicalPolicy('{"kind": "Unknown"}', 1)
    world = assembler.world(1, [bad, CanonicalPolicy(text("one"), 1)], PORTS, [])
    assert [document.ref for document in world.documents] == ["Timeout/one"]
    assert len(assembler.problems) == 1
    assembler.world(2, [], PORTS, [])
    assert not assembler.problems


def test_world_keeps_services_without_instances_and_ignores_undeclared_ones() -> None:
    world = Assembler("mesh.local").world(1, [], {"a": (Port(),)}, [registration("x-1", "x")])
    assert list(world.services) == ["a"]
    assert not world.services["a"].instances
