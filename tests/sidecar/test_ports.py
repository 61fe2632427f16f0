"""Ports: free ones, kept ones, and conflicts with the process that has the port."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import closing

import pytest

from meshwright.sidecar import ports as ports_module
from meshwright.sidecar.addresses import split_address
from meshwright.sidecar.config import Workload
from meshwright.sidecar.ports import PortAllocator, is_free, pid_on_port, port_conflict, process_on_port


@pytest.fixture
def used_port() -> Iterator[int]:
    with closing(socket.socket()) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield listener.getsockname()[1]


def orders(**changes: int) -> Workload:
    ports = [{"name": "http"}, {"name": "rpc", "protocol": "grpc", "app_port": changes.pop("rpc", 0)}]
    return Workload.model_validate(
        {"name": "orders-1", "service": "orders", "token_file": "t", "ports": ports, **changes}
    )


def test_allocated_ports_are_free_distinct_and_below_the_kernels_outgoing_range() -> None:
    allocator = PortAllocator("127.0.0.1", 0.5)
    numbers = [port for _ in range(5) for port in allocator.allocate_all(orders()).by_name.values()]
    assert len(set(numbers)) == len(numbers) == 25
    assert all(20_000 <= port < 32_000 and is_free("127.0.0.1", port) for port in numbers)


def test_configured_ports_are_kept(used_port: int) -> None:
    ports = PortAllocator("127.0.0.1").allocate_all(orders(inbound_port=used_port, rpc=7001))
    assert (ports.inbound, ports.apps["rpc"]) == (used_port, 7001)


def test_reallocate_replaces_only_the_port_that_was_taken() -> None:
    allocator = PortAllocator("127.0.0.1", 0.2)
    ports = allocator.allocate_all(orders())
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", ports.outbound))
        other.listen(1)
        updated = allocator.reallocate(orders(), ports)
        assert updated.outbound != ports.outbound
    assert (updated.inbound, updated.ready, updated.apps) == (ports.inbound, ports.ready, ports.apps)


def test_port_conflict_names_setting_and_process(used_port: int) -> None:
    workload = orders(inbound_port=used_port)
    assert not is_free("127.0.0.1", used_port)
    assert f"pid {os.getpid()}" in process_on_port(used_port)
    assert pid_on_port(used_port) == os.getpid()
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        assert pid_on_port(bound.getsockname()[1]) is None
    conflict = port_conflict(workload, PortAllocator("127.0.0.1").allocate_all(workload), "127.0.0.1")
    assert conflict.startswith(f"port {used_port} (inbound_port of orders-1) is in use (")
    assert port_conflict(orders(), PortAllocator("127.0.0.1").allocate_all(orders()), "127.0.0.1") == ""


def test_address_of_another_machine_is_not_reported_as_a_port_in_use() -> None:
    conflict = port_conflict(orders(), PortAllocator("127.0.0.1").allocate_all(orders()), "192.0.2.1")
    assert conflict == "192.0.2.1 is not an address of this machine: set --bind or MESH_BIND to one that is"


def caller_of(**upstreams: int) -> Workload:
    document = {"name": "front-1", "service": "front", "token_file": "t", "upstreams": upstreams}
    return Workload.model_validate(document)


def test_each_upstream_has_its_own_address_and_the_requested_port() -> None:
    allocator = PortAllocator("127.0.0.1", 0.4)
    upstreams = allocator.allocate_all(caller_of(db=15433, cache=15433, low=80, any=0)).upstreams
    addresses = {name: split_address(address) for name, address in upstreams.items()}
    assert len(set(upstreams.values())) == 4
    assert all(is_free(*address) for address in addresses.values())
    if sys.platform == "linux":
        assert len({host for host, _ in addresses.values()}) == 4
        assert (addresses["db"][1], addresses["cache"][1]) == (15433, 15433)
    assert addresses["low"][1] == 80 or addresses["low"][1] >= 1024


def test_upstreams_differ_by_port_where_loopback_has_one_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        ports_module, "is_free", lambda host, port: host == "127.0.0.1" and is_free(host, port)
    )
    upstreams = PortAllocator("127.0.0.1", 0.4).allocate_all(caller_of(db=15434, cache=15434)).upstreams
    assert {split_address(address)[0] for address in upstreams.values()} == {"127.0.0.1"}
    assert len(set(upstreams.values())) == 2


def test_reallocate_replaces_an_upstream_address_that_was_taken() -> None:
    allocator = PortAllocator("127.0.0.1", 0.4)
    ports = allocator.allocate_all(caller_of(db=15435, cache=15435))
    with closing(socket.socket()) as other:
        other.bind(split_address(ports.upstreams["db"]))
        other.listen(1)
        assert "upstream db of front-1" in port_conflict(caller_of(db=15435), ports, "127.0.0.1")
        updated = allocator.reallocate(caller_of(db=15435, cache=15435), ports).upstreams
    assert updated["db"] != ports.upstreams["db"]
    assert updated["cache"] == ports.upstreams["cache"]
