"""BackendTLSPolicy: TLS on the clusters of an ExternalService whose callers do not open it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from meshwright.control_plane.core.resource import CDS
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import registry
from meshwright.control_plane.policies.backendtlspolicy.spec import BackendTLSPolicySpec
from tests.control_plane.core.worlds import body, exchange

TARGET = {"group": "meshwright.io", "kind": "ExternalService", "name": "cards"}
EXTERNAL = """
---
apiVersion: meshwright.io/v1
kind: ExternalService
metadata: {name: cards}
spec:
  hosts: [api.cards.example]
  ports: [{port: 80, targetPort: 443}, {port: 443, protocol: https}, {port: 5432, protocol: tcp}]
"""


def test_tls_is_opened_where_callers_do_not_open_it() -> None:
    snapshot = translate(exchange(f"{registry.example('BackendTLSPolicy')}{EXTERNAL}")).snapshot
    names = {}
    for port in ("", ":443", ":tcp-5432"):
        message = body(snapshot.shared[CDS, f"/external/cards{port}"])
        socket = message.transport_socket
        names[port] = v3.UpstreamTlsContext.FromString(socket.typed_config.value).sni
    assert names == {"": "api.cards.example", ":443": "", ":tcp-5432": "api.cards.example"}


@pytest.mark.parametrize(
    ("validation", "problem"),
    [
        ({"hostname": "a.example"}, "wellKnownCACertificates"),
        ({"wellKnownCACertificates": "System"}, "hostname"),
        (
            {"hostname": "a.example", "wellKnownCACertificates": "System", "caCertificateRefs": []},
            "caCertificateRefs",
        ),
    ],
)
def test_validation_needs_a_name_and_the_systems_authorities(
    validation: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        BackendTLSPolicySpec.model_validate({"targetRefs": [TARGET], "validation": validation})
