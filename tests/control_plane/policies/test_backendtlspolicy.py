"""BackendTLSPolicy: TLS on the clusters of an ExternalService whose callers do not open it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from meshwright.control_plane.core.resource import CDS
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import registry
from meshwright.control_plane.policies.backendtlspolicy.spec import BackendTLSPolicySpec
from meshwright.control_plane.status.conditions import policy_statuses
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


CERTIFICATE = """
---
apiVersion: meshwright.io/v1
kind: Certificate
metadata: {name: partners}
spec: {caFile: partners.pem}
"""

POLICY = """
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: cards}
spec:
  targetRefs: [{group: meshwright.io, kind: ExternalService, name: cards}]
  validation:
    hostname: api.cards.example
    caCertificateRefs: [{group: meshwright.io, kind: Certificate, name: partners}]
    subjectAltNames: [{type: Hostname, hostname: b.example}, {type: URI, uri: "spiffe://b.example/cards"}]
"""


def test_authorities_are_files_of_each_caller_and_names_replace_the_hostname() -> None:
    resource = translate(exchange(POLICY + EXTERNAL + CERTIFICATE)).snapshot.shared[CDS, "/external/cards"]
    assert "Certificate/partners" in resource.policies
    context = v3.UpstreamTlsContext.FromString(body(resource).transport_socket.typed_config.value)
    assert context.sni == "api.cards.example"
    combined = context.common_tls_context.combined_validation_context
    secret = combined.validation_context_sds_secret_config.name
    assert secret == "certificate/partners?ca=partners.pem"
    matchers = combined.default_validation_context.match_typed_subject_alt_names
    assert [(item.san_type, item.matcher.exact) for item in matchers] == [
        (v3.SubjectAltNameMatcher.DNS, "b.example"),
        (v3.SubjectAltNameMatcher.URI, "spiffe://b.example/cards"),
    ]


def test_without_a_usable_certificate_document_no_server_is_believed() -> None:
    for certificate in ("", CERTIFICATE.replace("spec: {caFile: partners.pem}", "spec: {}")):
        world = exchange(POLICY + EXTERNAL + certificate)
        resource = translate(world).snapshot.shared[CDS, "/external/cards"]
        context = v3.UpstreamTlsContext.FromString(body(resource).transport_socket.typed_config.value)
        combined = context.common_tls_context.combined_validation_context
        assert "nonexistent" in combined.validation_context_sds_secret_config.name
        (status,) = (item for item in policy_statuses(world, {}) if item.kind == "BackendTLSPolicy")
        (problem,) = (item for item in status.conditions if item.type == "ResolvedRefs")
        assert (problem.status, problem.reason) == ("False", "InvalidCACertificateRef")


SYSTEM = {"hostname": "a.example", "wellKnownCACertificates": "System"}


@pytest.mark.parametrize(
    ("validation", "problem"),
    [
        ({"hostname": "a.example"}, "set either caCertificateRefs or wellKnownCACertificates"),
        ({"wellKnownCACertificates": "System"}, "hostname"),
        (
            {
                "hostname": "a.example",
                "wellKnownCACertificates": "System",
                "caCertificateRefs": [{"name": "x"}],
            },
            "set either caCertificateRefs or wellKnownCACertificates",
        ),
        (SYSTEM | {"subjectAltNames": [{"type": "URI", "hostname": "a.example"}]}, "type URI needs uri"),
        (SYSTEM | {"subjectAltNames": [{"type": "Hostname", "hostname": "*.a.example"}]}, "hostname"),
    ],
)
def test_validation_needs_a_name_and_the_systems_authorities(
    validation: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        BackendTLSPolicySpec.model_validate({"targetRefs": [TARGET], "validation": validation})
