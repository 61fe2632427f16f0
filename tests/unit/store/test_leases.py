"""Registrations as they are stored, and what services they make."""

from __future__ import annotations

from control_plane.api.types import Port, Registration
from control_plane.store import leases

HTTP = Port()
GRPC = Port(name="grpc", protocol="grpc", number=9090)


def _registration(instance: str, *ports: Port, **fields: object) -> Registration:
    return Registration.model_validate(
        {"instance": instance, "service": "orders", "address": "::1", "port": 1, "ports": ports, **fields}
    )


def test_same_labels_in_another_order_are_the_same_text() -> None:
    one = _registration("a", HTTP, labels=(("b", "2"), ("a", "1")))
    two = _registration("a", HTTP, labels=(("a", "1"), ("b", "2")))
    assert leases.write(one) == leases.write(two)
    assert leases.read_registrations([leases.write(one)]) == (two,)


def test_service_has_every_port_of_its_instances_whoever_registered_last() -> None:
    old, new = _registration("a", HTTP), _registration("b", GRPC, Port(number=81))
    stored = {"orders": leases.write_ports(old.ports), "alone": leases.write_ports([GRPC])}
    services = leases.read_services(stored, [old, new])
    assert services == {"alone": (GRPC,), "orders": (HTTP, GRPC)}
    assert list(services) == ["alone", "orders"]
