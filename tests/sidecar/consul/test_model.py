"""What applications send to the registry, and what it means in the mesh."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from meshwright.control_plane.api.models.instances import Registration
from meshwright.sidecar.consul.model import (
    CheckDefinition,
    ServiceRegistration,
    instance_name,
    parse_duration,
    worst,
)


def service(**fields: Any) -> ServiceRegistration:
    return ServiceRegistration.model_validate({"Name": "orders", "Port": 8000, **fields})


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("10s", 10), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("", 0), (5_000_000_000, 5), ("µs", None)],
)
def test_durations_are_those_of_go(text: object, seconds: float | None) -> None:
    if seconds is None:
        with pytest.raises(ValueError, match="not a duration"):
            parse_duration(text)
    else:
        assert parse_duration(text) == seconds


@given(st.floats(0, 86_000))
def test_a_definition_survives_being_saved(seconds: float) -> None:
    definition = service(
        ID="orders:1",
        Tags=["v1"],
        Meta={"version": "v1"},
        Checks=[{"TTL": f"{seconds + 0.001:f}s", "DeregisterCriticalServiceAfter": "90m"}],
    )
    assert (
        ServiceRegistration.model_validate(json.loads(definition.model_dump_json(by_alias=True)))
        == definition
    )


def test_names_of_fields_are_taken_in_any_case_as_clients_write_them() -> None:
    check = {"ttl": "10s", "checkid": "beat", "deregister_critical_service_after": "2m"}
    registered = ServiceRegistration.model_validate(
        {"name": "orders", "id": "orders:1", "port": 8000, "check": check}
    )
    assert (registered.id, registered.checks[0].id) == ("orders:1", "beat")
    assert registered.checks[0].deregister_after == 120


def test_null_is_as_good_as_nothing() -> None:
    nulls = {"ID": None, "Tags": None, "Meta": None, "Check": None, "Checks": None, "Connect": None}
    assert service(**nulls) == service()


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"Name": "Orders"}, "Name"),
        ({"Name": "orders_v2"}, "Name"),
        ({"Port": 0}, "Port"),
        ({"Port": None}, "Port"),
        ({"Tags": ["a" * 64]}, "Tags"),
        ({"Check": {}}, "Check"),
        ({"Check": {"TTL": "1s", "TCP": "127.0.0.1:1"}}, "Check"),
        ({"Check": {"HTTP": "ftp://127.0.0.1"}}, "Check.HTTP"),
        ({"Check": {"TTL": "soon"}}, "Check.TTL"),
        ({"Checks": [{"TTL": "1s"}] * 17}, "Checks"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(ValidationError) as caught:
        service(**fields)
    assert any(".".join(map(str, item["loc"])).startswith(where) for item in caught.value.errors())


def test_only_protocols_of_the_mesh_register() -> None:
    assert service(Meta={"protocol": "grpc"}).protocol == "grpc"
    assert service(Meta={"protocol": "tcp"}).protocol == "tcp"
    assert service().protocol == ""
    with pytest.raises(ValueError, match="write http, grpc or tcp"):
        _ = service(Meta={"protocol": "udp"}).protocol


@given(
    st.lists(st.text(max_size=63), max_size=16),
    st.dictionaries(st.text(max_size=20), st.text(max_size=80), max_size=64),
)
def test_whatever_tags_and_metadata_are_the_mesh_takes_the_labels(
    tags: list[str], meta: dict[str, str]
) -> None:
    labels = service(Tags=tags, Meta=meta).labels()
    assert labels["consul.meshwright.io/port"] == "8000"
    Registration(
        instance="orders", service="orders", address="127.0.0.1", port=1, labels=tuple(sorted(labels.items()))
    )


@given(st.text(max_size=255), st.sampled_from(["a", "orders", "a" * 63]))
def test_every_id_becomes_a_name(id: str, name: str) -> None:
    Registration(instance=instance_name(name, id), service=name, address="127.0.0.1", port=1)


def test_an_id_that_is_a_name_stays() -> None:
    assert instance_name("orders", "orders-1") == "orders-1"
    assert instance_name("orders", "orders:1") != instance_name("orders", "orders:2")


def test_the_worst_check_decides() -> None:
    assert worst([]) == worst(["passing"]) == "passing"
    assert worst(["passing", "warning"]) == "warning"
    assert worst(["warning", "critical"]) == "critical"


@pytest.mark.parametrize(
    ("fields", "kind"),
    [({"TTL": "1s"}, "ttl"), ({"HTTP": "http://127.0.0.1/"}, "http"), ({"GRPC": "127.0.0.1:1/svc"}, "grpc")],
)
def test_the_kind_of_a_check(fields: dict[str, str], kind: str) -> None:
    assert CheckDefinition.model_validate(fields).kind == kind
