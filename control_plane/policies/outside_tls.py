"""TLS from a proxy to a host outside the mesh, whose certificate comes from a public or a given authority."""

from __future__ import annotations

from dataclasses import dataclass

from meshwright.control_plane.api.hosts import is_ip
from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import node_secret

SYSTEM_ROOTS = "/etc/ssl/certs/ca-certificates.crt"
"""The authorities that the proxy's host trusts, where Debian, Ubuntu, Alpine and Arch have them. Envoy 1.40
does not support `system_root_certs`."""


@dataclass(frozen=True, slots=True)
class ServerTrust:
    """The name to ask a server for, which it must prove, and to which authorities.

    Authorities are `ca` (PEM), or `authorities` in files of the proxy's host; neither: SYSTEM_ROOTS. Without
    a name each request's host is asked for and verified, where the cluster speaks HTTP. `proven` are names
    (DNS or URI) of which the server must prove one in place of `name`. `verify`: False believes anybody.
    `tls13`: nothing older. `identity` is what the proxy presents. Without `alpn` Envoy offers the protocol
    of the cluster.
    """

    name: str = ""
    ca: str = ""
    verify: bool = True
    tls13: bool = False
    authorities: CertificateFiles | None = None
    proven: tuple[str, ...] = ()
    identity: CertificateFiles | None = None
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
    common = context.common_tls_context
    if trust.verify and trust.authorities:
        combined = common.combined_validation_context
        combined.default_validation_context.CopyFrom(_validation(trust))
        combined.validation_context_sds_secret_config.CopyFrom(node_secret.config(trust.authorities))
    elif trust.verify:
        common.validation_context.CopyFrom(_validation(trust))
    if trust.identity:
        common.tls_certificate_sds_secret_configs.append(node_secret.config(trust.identity))
    return v3.TransportSocket(name="envoy.transport_sockets.tls", typed_config=codec.pack(context))


def _validation(trust: ServerTrust) -> v3.CertificateValidationContext:
    validation = v3.CertificateValidationContext()
    for name in trust.proven or filter(None, (trust.name,)):
        validation.match_typed_subject_alt_names.append(_matcher(name))
    if trust.ca:
        validation.trusted_ca.inline_string = trust.ca
    elif not trust.authorities:
        validation.trusted_ca.filename = SYSTEM_ROOTS
    return validation


def _matcher(name: str) -> v3.SubjectAltNameMatcher:
    types = v3.SubjectAltNameMatcher
    kind = types.URI if "://" in name else types.IP_ADDRESS if is_ip(name) else types.DNS
    return v3.SubjectAltNameMatcher(san_type=kind, matcher=v3.StringMatcher(exact=name))
