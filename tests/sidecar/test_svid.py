"""SVIDs: assembled from what a CA signs, and never shown with their key."""

from __future__ import annotations

from pathlib import Path

import pytest

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.ca.authority import open_authority
from meshwright.control_plane.config import Settings
from meshwright.sidecar.svid import Svid, assemble_svid, create_csr, generate_key

ORDERS = Identity("mesh.local", "service", "orders")


def orders_svid(folder: Path) -> Svid:
    """An SVID of orders from a CA of its own."""
    authority, key = open_authority(Settings(folder / "control-plane")), generate_key()
    return assemble_svid(key, authority.sign_csr(create_csr(key, ORDERS.uri), ORDERS), ORDERS.uri)


def test_repr_omits_the_key(tmp_path: Path) -> None:
    svid = orders_svid(tmp_path)
    assert "PRIVATE KEY" in svid.key
    assert "PRIVATE KEY" not in repr(svid)


def test_certificate_for_another_key_or_name_is_rejected(tmp_path: Path) -> None:
    authority, key = open_authority(Settings(tmp_path / "control-plane")), generate_key()
    signed = authority.sign_csr(create_csr(key, ORDERS.uri), ORDERS)
    with pytest.raises(ValueError, match="another key"):
        assemble_svid(generate_key(), signed, ORDERS.uri)
    with pytest.raises(ValueError, match=r"not for spiffe://mesh\.local/service/payments"):
        assemble_svid(key, signed, "spiffe://mesh.local/service/payments")
