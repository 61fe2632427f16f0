"""What is stored → World: what did not change stays the same object."""

from __future__ import annotations

from meshwright.control_plane.api.models.base import Port, Registration
from meshwright.control_plane.core.assemble import Assembler, StoredDocument
from tests.control_plane.core.worlds import documents, mesh

PORTS = {"a": (Port(),), "b": (Port(),)}


def text(name: str) -> str:
    (found,) = documents(mesh("Timeout", name, "request: 1s"))
    return found.policy.model_dump_json(by_alias=True, exclude_unset=True)


def registration(name: str, service: str, port: int = 1) -> Registration:
    return Registration(instance=name, service=service, address="127.0.0.1", port=port)


def test_what_did_not_change_is_the_same_object() -> None:
    assembler = Assembler("mesh.local")
    one, two = StoredDocument(text("one"), 1), StoredDocument(text("two"), 2)
    first = assembler.world(1, [two, one], PORTS, [registration("a-1", "a"), registration("b-1", "b")])
    again = assembler.world(2, [one, two], PORTS, [registration("b-1", "b"), registration("a-1", "a", 2)])
    assert again.documents is first.documents
    assert [one.ref for one in again.documents] == ["Timeout/one", "Timeout/two"]
    assert again.services["b"] is first.services["b"]
    assert again.services["a"].instances[0].port == 2


def test_what_cannot_be_read_is_left_out_and_told_until_it_is_gone() -> None:
    assembler = Assembler("mesh.local")
    bad = StoredDocument('{"kind": "Unheard"}', 1)
    made = assembler.world(1, [bad, StoredDocument(text("one"), 1)], PORTS, [])
    assert [one.ref for one in made.documents] == ["Timeout/one"]
    assert len(assembler.problems) == 1
    assembler.world(2, [], PORTS, [])
    assert not assembler.problems


def test_a_service_without_instances_stays_and_one_nobody_announced_is_not_there() -> None:
    made = Assembler("mesh.local").world(1, [], {"a": (Port(),)}, [registration("x-1", "x")])
    assert list(made.services) == ["a"]
    assert not made.services["a"].instances
