"""What sheets hold for a service or an edge, and the policies that their texts make."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.api.calls import DocumentRef
from meshwright.control_plane.api.models.instances import InstanceStatus
from meshwright.control_plane.api.models.policies import AttachedPolicy, AttachmentLevelName
from meshwright.control_plane.errors import InputError
from meshwright.control_plane.policies.registry import kinds
from meshwright.tui.features.change.attached_sheets import (
    FAULTS,
    RETRIES,
    TIMEOUTS,
    SheetKind,
    attached_sheets,
)
from meshwright.tui.features.change.sheet import Document
from meshwright.tui.features.change.weight_sheets import weight_sheets


def policy(kind: str, name: str, spec: dict[str, Any], target: str = "orders") -> Document:
    """A policy for a service, or for the mesh."""
    ref = {"kind": "Service", "name": target} if target else {"kind": "Mesh"}
    return {
        "apiVersion": "meshwright.io/v1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {"targetRefs": [ref], **spec},
    }


def route(name: str = "orders", *rules: dict[str, Any], parent: str = "orders") -> Document:
    """An HTTPRoute for calls to a service."""
    refs = [{"group": "", "kind": "Service", "name": parent}]
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {"parentRefs": refs, "rules": list(rules)},
    }


def subset(name: str, version: str, service: str = "orders") -> Document:
    """A Subset by the label `version`."""
    spec = {"service": service, "labels": {"version": version}}
    return {**policy("Subset", name, {}), "spec": spec}


def attached(
    kind: str, name: str, level: AttachmentLevelName = "service", *, callers: tuple[str, ...] = ()
) -> AttachedPolicy:
    """A policy in force, as the API lists it."""
    targets = {"mesh": "Mesh", "service": "Service/orders", "route": "HTTPRoute/orders"}
    return AttachedPolicy(
        kind=kind, name=name, level=level, target=targets[level], from_=callers, in_force=True
    )


def valid(documents: tuple[Document, ...]) -> tuple[Document, ...]:
    """The documents, each accepted by the model of its kind."""
    for document in documents:
        kinds()[document["kind"]].model_validate(document)
    return documents


def instances(*versions: str) -> list[InstanceStatus]:
    """Instances of orders by their version."""
    return [
        InstanceStatus(
            name=f"orders-{number}",
            service="orders",
            address="127.0.0.1:1",
            health="healthy",
            labels={"version": version},
        )
        for number, version in enumerate(versions, 1)
    ]


def test_a_new_policy_begins_with_the_values_of_the_mesh() -> None:
    mesh = policy("Timeout", "mesh", {"request": "5s", "backendRequest": "2s"}, target="")
    (sheet,) = attached_sheets(TIMEOUTS, "orders", "", (mesh,), (attached("Timeout", "mesh", "mesh"),))
    assert dict(sheet.texts) == {"request": "5s", "backendRequest": "2s", "idle": ""}
    (document,) = valid(sheet.build({**sheet.texts, "request": "9s"}).documents)
    assert document["metadata"]["name"] == "orders-timeout"
    assert document["spec"] == {
        "targetRefs": [{"kind": "Service", "name": "orders"}],
        "request": "9s",
        "backendRequest": "2s",
    }


def test_the_services_policy_is_changed_and_keeps_what_the_form_does_not_show() -> None:
    spec = {"attempts": 2, "hedgeOnPerTryTimeout": True, "perTryTimeout": "1s", "budget": {"percent": 20.5}}
    retry = policy("Retry", "tries", spec)
    (sheet,) = attached_sheets(RETRIES, "orders", "", (retry,), (attached("Retry", "tries"),))
    texts = {**sheet.texts, "attempts": "4", "on": "503 reset,unavailable", "budget-percent": ""}
    (document,) = valid(sheet.build(texts).documents)
    assert document["metadata"] == {"name": "tries"}
    assert document["spec"] == {
        "targetRefs": [{"kind": "Service", "name": "orders"}],
        "attempts": 4,
        "hedgeOnPerTryTimeout": True,
        "perTryTimeout": "1s",
        "on": [503, "reset", "unavailable"],
    }
    assert retry["spec"]["attempts"] == 2


def test_a_fault_of_an_edge_is_limited_to_the_caller_and_ends_when_its_texts_are_blank() -> None:
    (sheet,) = attached_sheets(FAULTS, "orders", "shop", (), ())
    texts = {**sheet.texts, "abort-status": "503", "abort-percent": "12.5 %", "delay-percent": "50"}
    (fault,) = valid(sheet.build(texts).documents)
    assert fault["spec"] == {
        "targetRefs": [{"kind": "Service", "name": "orders"}],
        "from": ["shop"],
        "abort": {"status": 503, "percent": 12.5},
    }
    entry = attached("FaultInjection", "shop-orders-faults", callers=("shop",))
    (again,) = attached_sheets(FAULTS, "orders", "shop", (fault,), (entry,))
    assert again.texts["abort-percent"] == "12.5"
    ended = again.build({**again.texts, "abort-status": ""})
    assert ended.deletes == (DocumentRef("FaultInjection", "shop-orders-faults"),)
    (other,) = attached_sheets(FAULTS, "orders", "", (fault,), (entry,))
    assert other.place == "new FaultInjection/orders-faults"
    assert not other.build(other.texts).refs


def test_routes_that_decide_can_be_chosen() -> None:
    rules = ({"name": "slow", "timeouts": {"request": "3s"}}, {"name": "fast"})
    documents = (route("orders", *rules), policy("Timeout", "by-route", {"request": "4s"}))
    entries = (attached("Timeout", "by-route", "route"), attached("HTTPRoute", "orders", "route"))
    sheets = attached_sheets(TIMEOUTS, "orders", "", documents, entries)
    assert [sheet.place for sheet in sheets] == [
        "new Timeout/orders-timeout",
        "Timeout/by-route",
        "HTTPRoute/orders, rule slow",
    ]
    (document,) = valid(sheets[2].build({"request": "1s"}).documents)
    assert document["spec"]["rules"] == [{"name": "slow", "timeouts": {"request": "1s"}}, {"name": "fast"}]
    (document,) = valid(sheets[2].build({}).documents)
    assert document["spec"]["rules"] == [{"name": "slow"}, {"name": "fast"}]
    at_gateway = attached_sheets(TIMEOUTS, "ingress", "", documents, entries, is_gateway=True)
    assert len(at_gateway) == 2


@pytest.mark.parametrize(
    ("kind", "key", "text"),
    [
        (TIMEOUTS, "request", "5"),
        (RETRIES, "attempts", "two"),
        (FAULTS, "abort-percent", "101"),
        (FAULTS, "delay-fixed", "-1s"),
    ],
)
def test_a_text_that_cannot_be_read_is_named(kind: SheetKind, key: str, text: str) -> None:
    (sheet,) = attached_sheets(kind, "orders", "", (), ())
    label = next(field.label for field in sheet.fields if field.key == key)
    with pytest.raises(InputError, match=f"^{label}: write .*, not '{text}'$"):
        sheet.build({key: text})


def test_weights_of_a_rule_change_and_a_subset_is_added() -> None:
    refs = [{"name": "orders", "weight": 90}, {"group": "meshwright.io", "kind": "Subset", "name": "v2"}]
    documents = (
        route("canary", {"backendRefs": refs}, {"backendRefs": [{"name": "other"}]}),
        subset("v2", "v2"),
        subset("v3", "v3"),
        {"kind": "Rollout", "metadata": {"name": "move"}, "spec": {"route": {"name": "canary"}}},
    )
    (sheet,) = weight_sheets("orders", "", documents, ())
    assert list(sheet.texts.values()) == ["90", "1", ""]
    assert "Rollout/move" in sheet.notes[0]
    edit = sheet.build({"0-weight": "70", "1-weight": "20", "2-weight": "10"})
    assert edit.summary == "orders 70 %, v2 20 %, v3 10 %"
    (document,) = valid(edit.documents)
    backends = document["spec"]["rules"][0]["backendRefs"]
    assert [(ref["name"], ref["weight"]) for ref in backends] == [("orders", 70), ("v2", 20), ("v3", 10)]
    for texts in ({"0-weight": "0", "1-weight": "0"}, {"0-weight": "1"}):
        with pytest.raises(InputError):
            sheet.build(texts)


def test_versions_without_a_route_are_divided_by_a_new_one() -> None:
    taken = subset("orders-v1", "v1", service="other")
    (sheet,) = weight_sheets("orders", "", (taken,), instances("v1", "v1", "V2.0"))
    assert sheet.place == "new HTTPRoute/orders-weights"
    assert sorted(sheet.texts.values()) == ["1", "2"]
    division, first, second = valid(sheet.build(sheet.texts).documents)
    assert {first["metadata"]["name"], second["metadata"]["name"]} == {"orders-v2-0", "orders-v1-2"}
    backends = division["spec"]["rules"][0]["backendRefs"]
    assert {ref["name"]: ref["weight"] for ref in backends} == {"orders-v1-2": 2, "orders-v2-0": 1}
    assert not weight_sheets("orders", "", (), instances("v1", "v1"))


def test_the_routes_of_a_gateway_are_those_of_an_edge_from_it() -> None:
    rule = {"backendRefs": [{"name": "orders", "weight": 3}, {"name": "legacy", "weight": 1}]}
    gateway_route = route("edge", rule)
    gateway_route["spec"]["parentRefs"][:] = [{"kind": "Gateway", "name": "ingress"}]
    (sheet,) = weight_sheets("orders", "ingress", (gateway_route,), ())
    assert list(sheet.texts.values()) == ["3", "1"]
    assert weight_sheets("ingress", "", (gateway_route,), ())
    assert not weight_sheets("orders", "shop", (gateway_route,), ())
