"""Stored registrations, and the services they define."""

from __future__ import annotations

from meshwright.control_plane.api.models.instances import Port, Registration
from meshwright.control_plane.store import leases

HTTP = Port()
GRPC = Port(name="grpc", protocol="grpc", number=9090)


def _registration(instance: str, *ports: Port, **fields: object) -> Registration:
    return Registration.model_validate(
        {"instance": instance, "service": "orders", "address": "::1", "port": 1, "ports": ports, **fields}
    )


def test_order_of_labels_does_not_change_the_text() -> None:
    first = _registration("a", HTTP, labels=(("b", "2"), ("a", "1")))
    second = _registration("a", HTTP, labels=(("a", "1"), ("b", "2")))
    assert leases.serialize(first) == leases.serialize(second)
    assert leases.parse_registrations([leases.serialize(first)]) == (second,)


def test_service_has_the_ports_of_all_its_instances() -> None:
    old, new = _registration("a", HTTP), _registration("b", GRPC, Port(number=81))
    stored = {"orders": leases.serialize_ports(old.ports), "alone": leases.serialize_ports([GRPC])}
    services = leases.parse_services(stored, [old, new])
    assert services == {"alone": (GRPC,), "orders": (HTTP, GRPC)}
    assert list(services) == ["alone", "orders"]
