"""EnvoyPatch: JSON patches, validation, and what becomes of resources."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from meshwright.control_plane.admin.errors import DocumentsError
from meshwright.control_plane.admin.policy_validation import check_allowed, check_patches
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.patches import in_force
from meshwright.control_plane.core.resource import CDS, LDS, RDS
from meshwright.control_plane.core.revision import RevisionDocument
from meshwright.control_plane.core.snapshot import Bindings, Snapshot
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.policies import json_patch
from meshwright.control_plane.policies.envoypatch.spec import EnvoyPatchSpec, PatchOperation
from meshwright.control_plane.policies.json_patch import PatchError
from meshwright.control_plane.policies.schema import dump
from meshwright.control_plane.status.preview import plan
from tests.control_plane.core.worlds import body, documents, exchange, mesh

TARGET = {"targetRefs": [{"kind": "Service", "name": "inventory"}]}
INVENTORY = "{kind: Service, name: inventory}"
BINDINGS = Bindings(outbound=11, inbound=12, gateway=(("http", 13),))
REF = "EnvoyPatch/p"


def patched(document: Any, *operations: dict[str, Any]) -> Any:
    return json_patch.apply(document, [PatchOperation.model_validate(entry).step for entry in operations])


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        # RFC 6902, appendix A.
        ({"foo": "bar"}, {"op": "add", "path": "/baz", "value": "qux"}, {"baz": "qux", "foo": "bar"}),
        ({"foo": [1, 3]}, {"op": "add", "path": "/foo/1", "value": 2}, {"foo": [1, 2, 3]}),
        ({"foo": [1, 2, 3]}, {"op": "remove", "path": "/foo/1"}, {"foo": [1, 3]}),
        ({"baz": "q"}, {"op": "replace", "path": "/baz", "value": "boo"}, {"baz": "boo"}),
        ({"a": {"b": 1}, "c": {}}, {"op": "move", "from": "/a/b", "path": "/c/d"}, {"a": {}, "c": {"d": 1}}),
        ({"f": [1, 2, 3]}, {"op": "move", "from": "/f/0", "path": "/f/2"}, {"f": [2, 3, 1]}),
        ({"a": [1]}, {"op": "copy", "from": "/a", "path": "/b"}, {"a": [1], "b": [1]}),
        ({"foo": ["bar"]}, {"op": "add", "path": "/foo/-", "value": ["a"]}, {"foo": ["bar", ["a"]]}),
        ({"/": 9, "~1": 10}, {"op": "test", "path": "/~01", "value": 10}, {"/": 9, "~1": 10}),
        ({"a": 1}, {"op": "replace", "path": "", "value": {"b": None}}, {"b": None}),
        ({"a": 1}, {"op": "add", "path": "/a", "value": None}, {"a": None}),
    ],
)
def test_operations_are_those_of_the_standard(document: Any, operation: dict[str, Any], result: Any) -> None:
    before = json.dumps(document)
    assert patched(document, operation) == result
    assert json.dumps(document) == before


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"op": "test", "path": "/a", "value": 2}, "test /a: the value is 1"),
        ({"op": "remove", "path": "/b"}, "remove /b: there is no /b: beside it are a, l"),
        ({"op": "add", "path": "/b/c", "value": 1}, "there is no /b"),
        ({"op": "add", "path": "/a/c", "value": 1}, "/a is a plain value"),
        ({"op": "add", "path": "/l/3", "value": 1}, "the list has 3 entries"),
        ({"op": "replace", "path": "/l/01", "value": 1}, "not an index"),
        ({"op": "remove", "path": ""}, "as a whole"),
        ({"op": "move", "from": "/l", "path": "/l/0"}, "into itself"),
    ],
)
def test_an_operation_that_cannot_be_applied_says_why(operation: dict[str, Any], message: str) -> None:
    with pytest.raises(PatchError, match=message):
        patched({"a": 1, "l": [1, 2]}, operation)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        ({"op": "add", "path": "a", "value": 1}, "not a JSON pointer"),
        ({"op": "add", "path": "/a~b", "value": 1}, "write ~ as ~0"),
        ({"op": "add", "path": "/a"}, "value is for add"),
        ({"op": "remove", "path": "/a", "value": 1}, "value is for add"),
        ({"op": "move", "path": "/a"}, "from is for move"),
        ({"op": "merge", "path": "/a"}, "Input should be"),
    ],
)
def test_an_invalid_operation_is_refused(operation: dict[str, Any], message: str) -> None:
    patches = [{"type": "Cluster", "name": "orders", "operations": [operation]}]
    with pytest.raises(ValidationError, match=message):
        EnvoyPatchSpec.model_validate(TARGET | {"patches": patches})


def policy(kind: str, name: str, *operations: dict[str, Any]) -> str:
    patches = [{"type": kind, "name": name, "operations": operations}]
    return mesh("EnvoyPatch", "p", f"patches: {json.dumps(patches)}", INVENTORY)


def resource(snapshot: Snapshot, type_url: str, name: str, service: str = "inventory") -> Any:
    entry = snapshot.node(Identity("mesh.local", "service", service), BINDINGS).get(type_url, name)
    assert entry is not None
    return entry


TIMEOUT = {"op": "replace", "path": "/connect_timeout", "value": "9s"}


def test_copies_of_copies_end() -> None:
    operations = [{"op": "copy", "from": "/a", "path": "/a/-"}] * 64
    with pytest.raises(PatchError, match=r"copy /a/-: all copies together have more than 1048576 characters"):
        patched({"a": ["x" * 100]}, *operations)


BACKLOG = {"op": "add", "path": "/tcp_backlog_size", "value": 7}
VALIDATE = {"op": "add", "path": "/validate_clusters", "value": True}


def test_values_stay_as_they_are_written() -> None:
    (document,) = documents(policy("Cluster", "orders", {"op": "add", "path": "/a", "value": {"b": ["x"]}}))
    operation = dump(document.policy)["spec"]["patches"][0]["operations"][0]
    assert operation["value"] == {"b": ["x"]}


@pytest.mark.parametrize(
    ("type_url", "name", "operation", "field", "value"),
    [
        (CDS, "orders", TIMEOUT, "connect_timeout.seconds", 9),
        (LDS, "inbound", BACKLOG, "tcp_backlog_size.value", 7),
        (RDS, "in", VALIDATE, "validate_clusters.value", True),
    ],
)
def test_resources_of_the_target_alone_are_patched_and_named(
    type_url: str, name: str, operation: dict[str, Any], field: str, value: Any
) -> None:
    snapshot = translate(exchange(policy(type_url.rsplit(".", 1)[1], name, operation))).snapshot
    changed = resource(snapshot, type_url, name)
    message = body(changed)
    for part in field.split("."):
        message = getattr(message, part)
    assert message == value
    assert REF in changed.policies
    assert list(body(changed).metadata.filter_metadata["meshwright"]["patched_by"]) == [REF]
    kind = type_url.rsplit(".", 1)[1]
    assert in_force(snapshot.patches, snapshot.misfits) == {("inventory", kind, name): (REF,)}
    before = translate(exchange()).snapshot
    assert changed.version != resource(before, type_url, name).version
    assert resource(snapshot, CDS, "orders", "catalog") == resource(before, CDS, "orders", "catalog")
    assert snapshot.problems == ()
    assert (type_url, name) in snapshot.changed_from(before)
    again = translate(exchange(policy(type_url.rsplit(".", 1)[1], name, operation))).snapshot
    assert resource(again, type_url, name).version == changed.version


@pytest.mark.parametrize(
    ("kind", "name", "operation", "message"),
    [
        ("Cluster", "nobody", TIMEOUT, "Cluster nobody of inventory: there is no such resource"),
        ("Cluster", "orders", {"op": "remove", "path": "/nothing"}, "remove /nothing: there is no /nothing"),
        ("Cluster", "orders", {"op": "add", "path": "/tiemout", "value": 1}, 'no field named "tiemout"'),
        ("Listener", "inbound", {**TIMEOUT, "op": "add"}, 'no field named "connect_timeout"'),
        ("Cluster", "orders", {**TIMEOUT, "value": "soon"}, "connect_timeout"),
    ],
)
def test_a_patch_that_does_not_fit_changes_nothing_and_is_a_problem(
    kind: str, name: str, operation: dict[str, Any], message: str
) -> None:
    snapshot = translate(exchange(policy(kind, name, operation))).snapshot
    (problem,) = snapshot.problems
    assert problem.startswith("EnvoyPatch/p does not change ")
    assert in_force(snapshot.patches, snapshot.misfits) == {}
    assert message in problem
    before = translate(exchange()).snapshot
    assert resource(snapshot, CDS, "orders") == resource(before, CDS, "orders")


def test_a_mesh_that_denies_patches_refuses_them_and_applies_none() -> None:
    world = replace(exchange(policy("Cluster", "orders", TIMEOUT)), patches_allowed=False)
    snapshot = translate(world).snapshot
    assert snapshot.problems == ("EnvoyPatch/p is not in force: MESH_ENVOY_PATCHES is deny",)
    assert body(resource(snapshot, CDS, "orders")).connect_timeout.seconds != 9
    (document,) = documents(policy("Cluster", "orders", TIMEOUT))
    sent = [RevisionDocument(dump(document.policy), "a.yaml:3")]
    with pytest.raises(DocumentsError, match=r"a\.yaml:3:1: kind: denied"):
        check_allowed(sent, {"EnvoyPatch": "denied"})
    check_allowed(sent, {})


def test_the_operation_that_does_not_fit_is_named() -> None:
    text = policy("Cluster", "orders", TIMEOUT, {"op": "remove", "path": "/nothing"})
    (misfit,) = translate(exchange(text)).snapshot.misfits
    (document,) = documents(text)
    sent = [RevisionDocument(dump(document.policy), "a.yaml:3")]
    field = r"spec\.patches\[0\]\.operations\[1\]"
    with pytest.raises(DocumentsError, match=rf"a\.yaml:3:1: {field}: Cluster orders of inventory: remove /"):
        check_patches(sent, [misfit])
    with pytest.raises(DocumentsError, match=r":3:1: spec\.patches\[0\]: Cluster orders .*: no field"):
        check_patches(sent, [replace(misfit, step=None, reason="no field")])
    check_patches(sent, [replace(misfit, ref="EnvoyPatch/other")])


def test_a_patch_of_a_patched_resource_keeps_both_marks_and_a_diff_names_them() -> None:
    first = policy("Cluster", "orders", TIMEOUT)
    second = policy("Cluster", "orders", {"op": "remove", "path": "/metadata"}).replace(
        "name: p}", "name: q}"
    )
    world = exchange(first + second)
    changed = resource(translate(world).snapshot, CDS, "orders")
    assert list(body(changed).metadata.filter_metadata["meshwright"]["patched_by"]) == [REF, "EnvoyPatch/q"]
    bodies = [dump(document.policy) for document in world.documents]
    without = [entry for entry in bodies if entry["metadata"]["name"] != "q"]
    text = plan(world, without, bodies, ()).resource_diff
    assert f"+++ b/Cluster/orders (of inventory) patched by {REF}, EnvoyPatch/q" in text
