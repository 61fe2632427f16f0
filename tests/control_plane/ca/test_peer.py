"""Who a connection's certificate speaks for."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.peer import identity_from_auth_context
from meshwright.control_plane.errors import PermissionDeniedError
from tests.control_plane.ca.keys import ORDERS


def test_the_spiffe_id_is_the_identity() -> None:
    assert (
        identity_from_auth_context({"peer_spiffe_id": [b"spiffe://mesh.local/service/orders"]}, "mesh.local")
        == ORDERS
    )


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        ({}, "no single SPIFFE ID"),
        ({"x509_common_name": [b"orders"], "peer_dns": [b"orders.mesh"]}, "no single SPIFFE ID"),
        ({"peer_spiffe_id": [b"spiffe://mesh.local/service/a", b"spiffe://mesh.local/service/b"]}, "single"),
        ({"peer_spiffe_id": [b"spiffe://other.local/service/orders"]}, "another trust domain"),
        ({"peer_spiffe_id": [b"spiffe://mesh.local/ns/default/sa/orders"]}, "not a SPIFFE ID of a mesh"),
        ({"peer_spiffe_id": [b"\xff"]}, "identity is refused"),
    ],
)
def test_anything_else_is_refused(context: dict[str, list[bytes]], reason: str) -> None:
    with pytest.raises(PermissionDeniedError, match=reason):
        identity_from_auth_context(context, "mesh.local")
