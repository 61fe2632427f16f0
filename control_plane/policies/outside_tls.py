"""TLS from a proxy to a host outside the mesh, whose certificate comes from a public or a given authority."""

from __future__ import annotations

from dataclasses import dataclass

from meshwright.control_plane.api.hosts import is_ip
from meshwright.control_plane.envoy import codec, v3

SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
"""The authorities that the proxy's host trusts, where Debian, Ubuntu, Alpine and Arch have them. Envoy 1.40
does not support `system_root_certs`."""


@dataclass(frozen=True, slots=True)
class ServerTrust:
    """The name that a server must prove, and to which authorities (PEM; empty: SYSTEM_ROOTS).

    Without a name each request's host is asked for and verified, where the cluster speaks HTTP. `verify`:
    False believes anybody. `tls13`: nothing older. `certificate` and `key` are files of the proxy's host.
    Without `alpn` Envoy offers the protocol of the cluster.
    """

    name: str = ""
    ca: str = ""
    verify: bool = True
    tls13: bool = False
    certificate: str = ""
    key: str = ""
    alpn: tuple[str, ...] = ()


def socket(trust: ServerTrust) -> v3.TransportSocket:
    """TLS 1.2 or later to a server that proves its name."""
    versions = v3.TlsParameters
    context = v3.UpstreamTlsContext(
        sni="" if is_ip(trust.name) else trust.name,
        common_tls_context=v3.CommonTlsContext(
            alpn_protocols=trust.alpn,
            tls_params=v3.TlsParameters(
                tls_minimum_protocol_version=versions.TLSv1_3 if trust.tls13 else versions.TLSv1_2,
                tls_maximum_protocol_version=versions.TLSv1_3,
            ),
        ),
    )
    if trust.verify:
        context.common_tls_context.validation_context.CopyFrom(_validation(trust))
    if trust.certificate:
        context.common_tls_context.tls_certificates.add(
            certificate_chain=v3.DataSource(filename=trust.certificate),
            private_key=v3.DataSource(filename=trust.key),
        )
    return v3.TransportSocket(name="envoy.transport_sockets.tls", typed_config=codec.pack(context))


def _validation(trust: ServerTrust) -> v3.CertificateValidationContext:
    validation = v3.CertificateValidationContext()
    if trust.name:
        kind = v3.SubjectAltNameMatcher.IP_ADDRESS if is_ip(trust.name) else v3.SubjectAltNameMatcher.DNS
        validation.match_typed_subject_alt_names.add(
            san_type=kind, matcher=v3.StringMatcher(exact=trust.name)
        )
    if trust.ca:
        validation.trusted_ca.inline_string = trust.ca
    else:
        validation.trusted_ca.filename = SYSTEM_ROOTS
    return validation
