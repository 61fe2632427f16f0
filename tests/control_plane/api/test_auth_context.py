"""The identity in a connection's certificate."""

from __future__ import annotations

import pytest

from meshwright.control_plane.api.spiffe import identity_from_auth_context
from meshwright.control_plane.errors import PermissionDeniedError
from tests.control_plane.ca.keys import ORDERS


def test_spiffe_id_is_the_identity() -> None:
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
        (
            {"peer_spiffe_id": [b"spiffe://other.local/service/orders"]},
            "is not in the trust domain mesh.local",
        ),
        ({"peer_spiffe_id": [b"spiffe://mesh.local/ns/default/sa/orders"]}, "not a SPIFFE ID of a mesh"),
        ({"peer_spiffe_id": [b"\xff"]}, "identity is invalid"),
    ],
)
def test_connection_without_a_valid_spiffe_id_is_denied(context: dict[str, list[bytes]], reason: str) -> None:
    with pytest.raises(PermissionDeniedError, match=reason):
        identity_from_auth_context(context, "mesh.local")
