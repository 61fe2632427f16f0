"""Ports: free ones, kept ones, and taken ones with their holder."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from meshwright.sidecar import ports as ports_module
from meshwright.sidecar.config import Workload
from meshwright.sidecar.ports import PortAllocator, is_free, process_on_port


@pytest.fixture
def busy() -> Iterator[int]:
    with closing(socket.socket()) as one:
        one.bind(("127.0.0.1", 0))
        one.listen(1)
        yield one.getsockname()[1]


def orders(**changes: int) -> Workload:
    ports = [{"name": "http"}, {"name": "rpc", "protocol": "grpc", "app_port": changes.pop("rpc", 0)}]
    return Workload.model_validate(
        {"name": "orders-1", "service": "orders", "token_file": "t", "ports": ports, **changes}
    )


def test_ports_are_free_distinct_and_below_those_of_outgoing_connections() -> None:
    allotment = PortAllocator("127.0.0.1", 0.5)
    numbers = [number for _ in range(5) for number in allotment.allocate_all(orders()).by_name.values()]
    assert len(set(numbers)) == len(numbers) == 25
    assert all(20_000 <= number < 32_000 and is_free("127.0.0.1", number) for number in numbers)


def test_a_port_that_is_asked_for_is_given(busy: int) -> None:
    ports = PortAllocator("127.0.0.1").allocate_all(orders(inbound_port=busy, rpc=7001))
    assert (ports.inbound, ports.apps["rpc"]) == (busy, 7001)


def test_a_port_that_a_stranger_took_is_replaced_and_the_others_are_kept() -> None:
    allotment = PortAllocator("127.0.0.1", 0.2)
    ports = allotment.allocate_all(orders())
    with closing(socket.socket()) as stranger:
        stranger.bind(("127.0.0.1", ports.outbound))
        stranger.listen(1)
        again = allotment.reallocate(orders(), ports)
        assert again.outbound != ports.outbound
    assert (again.inbound, again.ready, again.apps) == (ports.inbound, ports.ready, ports.apps)


def test_a_taken_port_is_named_with_setting_and_holder(busy: int) -> None:
    workload = orders(inbound_port=busy)
    assert not is_free("127.0.0.1", busy)
    assert f"pid {os.getpid()}" in process_on_port(busy)
    why = ports_module.port_conflict(workload, PortAllocator("127.0.0.1").allocate_all(workload), "127.0.0.1")
    assert why.startswith(f"port {busy} (inbound_port of orders-1) is in use (")
    assert (
        ports_module.port_conflict(orders(), PortAllocator("127.0.0.1").allocate_all(orders()), "127.0.0.1")
        == ""
    )


def test_an_address_of_another_machine_is_no_port_in_use() -> None:
    why = ports_module.port_conflict(orders(), PortAllocator("127.0.0.1").allocate_all(orders()), "192.0.2.1")
    assert why == "192.0.2.1 is no address of this machine: give --bind or MESH_BIND one that is"


def calling(**upstreams: int) -> Workload:
    document = {"name": "front-1", "service": "front", "token_file": "t", "upstreams": upstreams}
    return Workload.model_validate(document)


def test_each_upstream_has_an_address_of_its_own_at_the_port_it_likes() -> None:
    found = (
        PortAllocator("127.0.0.1", 0.4).allocate_all(calling(db=15433, cache=15433, low=80, any=0)).upstreams
    )
    addresses = {name: ports_module.split_address(at) for name, at in found.items()}
    assert len(set(found.values())) == 4
    assert all(is_free(*at) for at in addresses.values())
    if sys.platform == "linux":
        assert len({host for host, _ in addresses.values()}) == 4
        assert (addresses["db"][1], addresses["cache"][1]) == (15433, 15433)
    assert addresses["low"][1] == 80 or addresses["low"][1] >= 1024


def test_without_such_addresses_a_port_tells_upstreams_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    real = is_free
    monkeypatch.setattr(ports_module, "is_free", lambda host, port: host == "127.0.0.1" and real(host, port))
    found = PortAllocator("127.0.0.1", 0.4).allocate_all(calling(db=15434, cache=15434)).upstreams
    assert {ports_module.split_address(at)[0] for at in found.values()} == {"127.0.0.1"}
    assert len(set(found.values())) == 2


def test_an_upstreams_address_that_a_stranger_took_is_replaced() -> None:
    allotment = PortAllocator("127.0.0.1", 0.4)
    ports = allotment.allocate_all(calling(db=15435, cache=15435))
    with closing(socket.socket()) as stranger:
        stranger.bind(ports_module.split_address(ports.upstreams["db"]))
        stranger.listen(1)
        assert "upstream db of front-1" in ports_module.port_conflict(calling(db=15435), ports, "127.0.0.1")
        again = allotment.reallocate(calling(db=15435, cache=15435), ports).upstreams
    assert again["db"] != ports.upstreams["db"]
    assert again["cache"] == ports.upstreams["cache"]
