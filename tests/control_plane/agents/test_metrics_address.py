"""Prometheus is sent to a node's own address only."""

from __future__ import annotations

import pytest

from meshwright.control_plane.agents.metrics_address import own_metrics_address


@pytest.mark.parametrize(
    ("reported", "peer", "registered", "accepted"),
    [
        ("10.0.0.7:15020", "ipv4:10.0.0.7:41000", "", True),
        ("10.0.0.8:15020", "ipv4:10.0.0.7:41000", "10.0.0.8", True),
        ("[2001:db8::7]:15020", "ipv6:%5B2001:db8::7%5D:41000", "", True),
        ("[2001:DB8:0::7]:15020", "ipv6:[2001:db8::7]:41000", "", True),
        ("10.0.0.7:15020", "ipv6:%5B::ffff:10.0.0.7%5D:41000", "", True),
        ("127.0.0.1:15020", "ipv4:127.0.0.1:41000", "", True),
        ("10.0.0.9:15020", "ipv4:10.0.0.7:41000", "10.0.0.8", False),
        ("169.254.169.254:80", "ipv4:10.0.0.7:41000", "", False),
        ("169.254.169.254:80", "ipv4:10.0.0.7:41000", "169.254.169.254", False),
        ("[fe80::1]:80", "ipv4:10.0.0.7:41000", "fe80::1", False),
        ("0.0.0.0:80", "ipv4:10.0.0.7:41000", "0.0.0.0", False),
        ("metadata.internal:80", "ipv4:10.0.0.7:41000", "", False),
        ("localhost:80", "ipv4:127.0.0.1:41000", "", False),
        ("127.0.0.1:15080", "ipv4:10.0.0.7:41000", "10.0.0.7", False),
        ("10.0.0.7:80", "unix:/run/socket", "", False),
        ("10.0.0.7:80", "", "", False),
        ("", "ipv4:10.0.0.7:41000", "10.0.0.7", False),
    ],
)
def test_only_the_peers_and_the_registered_address_are_its_own(
    reported: str, peer: str, registered: str, accepted: bool
) -> None:
    assert own_metrics_address(reported, peer, registered) == (reported if accepted else "")
