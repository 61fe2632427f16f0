"""Registrations as they are stored, and what services they make."""

from __future__ import annotations

from meshwright.control_plane.api.models.base import Port, Registration
from meshwright.control_plane.store import leases

HTTP = Port()
GRPC = Port(name="grpc", protocol="grpc", number=9090)


def _registration(instance: str, *ports: Port, **fields: object) -> Registration:
    return Registration.model_validate(
        {"instance": instance, "service": "orders", "address": "::1", "port": 1, "ports": ports, **fields}
    )


def test_same_labels_in_another_order_are_the_same_text() -> None:
    one = _registration("a", HTTP, labels=(("b", "2"), ("a", "1")))
    two = _registration("a", HTTP, labels=(("a", "1"), ("b", "2")))
    assert leases.serialize(one) == leases.serialize(two)
    assert leases.parse_registrations([leases.serialize(one)]) == (two,)


def test_service_has_every_port_of_its_instances_whoever_registered_last() -> None:
    old, new = _registration("a", HTTP), _registration("b", GRPC, Port(number=81))
    stored = {"orders": leases.serialize_ports(old.ports), "alone": leases.serialize_ports([GRPC])}
    services = leases.parse_services(stored, [old, new])
    assert services == {"alone": (GRPC,), "orders": (HTTP, GRPC)}
    assert list(services) == ["alone", "orders"]
