"""Which connection makes room when a listener is full."""

from __future__ import annotations

import pytest

from meshwright.control_plane.connection_table import ConnectionTable, peer_of


def test_the_largest_peer_loses_its_oldest_connection() -> None:
    table: ConnectionTable[str] = ConnectionTable(4)
    for name in ("a1", "a2", "a3", "b1"):
        assert table.add(name[0], name) is None
    assert table.add("c", "c1") == "a1"
    table.remove("a", "a1")
    assert table.add("a", "a4") == "a2"
    table.remove("a", "a2")
    assert len(table) == 4


def test_a_busy_connection_stays_and_a_new_one_goes_if_all_are_busy() -> None:
    table: ConnectionTable[str] = ConnectionTable(2)
    for name in ("a1", "a2"):
        table.add("a", name)
        table.set_busy("a", name, busy=True)
    assert table.add("b", "b1") == "b1"
    table.set_busy("b", "b1", busy=True)
    table.remove("b", "b1")
    assert table.add("b", "b2") == "b2"
    table.remove("b", "b2")
    table.set_busy("a", "a2", busy=False)
    assert table.add("b", "b3") == "a2"


def test_what_was_removed_is_forgotten() -> None:
    table: ConnectionTable[str] = ConnectionTable(1)
    table.add("a", "a1")
    for _ in range(2):
        table.remove("a", "a1")
        table.set_busy("a", "a1", busy=True)
    assert len(table) == 0
    assert table.oldest() is None


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("::ffff:10.0.0.7", "10.0.0.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_peers_are_told_apart_by_address_or_network(address: str, peer: str) -> None:
    assert peer_of(address) == peer
