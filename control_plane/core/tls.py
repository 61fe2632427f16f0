"""Mutual TLS between sidecars: TLS 1.3 only, SPIFFE on both sides.

Certificates and the trust bundle are files beside Envoy (SDS by path), so nothing here differs by node.
Minimum and maximum version are both set: a minimum alone fails every handshake on the client side.
"""

from __future__ import annotations

from meshwright.control_plane.api.state_dir import BUNDLE_FILE, IDENTITY_FILE
from meshwright.control_plane.envoy import codec, v3

ALPN = ("h2",)
"""Sidecars speak HTTP/2 to each other; ALPN must match the upstream codec."""


def upstream_socket(identity: str, sni: str, alpn: tuple[str, ...] = ALPN) -> v3.TransportSocket:
    """TLS to a peer that must present `identity` (a SPIFFE ID) and nothing else; no `alpn` for plain TCP."""
    matcher = v3.SubjectAltNameMatcher(
        san_type=v3.SubjectAltNameMatcher.URI, matcher=v3.StringMatcher(exact=identity)
    )
    validation = v3.CertificateValidationContext(match_typed_subject_alt_names=[matcher])
    context = v3.UpstreamTlsContext(sni=sni, common_tls_context=_common(validation, alpn))
    return _socket(context)


def downstream_socket(alpn: tuple[str, ...] = ALPN) -> v3.TransportSocket:
    """TLS from any peer of the trust domain; a client certificate is required."""
    context = v3.DownstreamTlsContext(
        require_client_certificate=v3.BoolValue(value=True),
        common_tls_context=_common(v3.CertificateValidationContext(), alpn),
    )
    return _socket(context)


def sni(service: str, port: str) -> str:
    """The SNI by which a callee's sidecar selects one of its ports."""
    return f"{port}.{service}.mesh"


def _common(validation: v3.CertificateValidationContext, alpn: tuple[str, ...]) -> v3.CommonTlsContext:
    tls13 = v3.TlsParameters.TLSv1_3
    return v3.CommonTlsContext(
        tls_params=v3.TlsParameters(tls_minimum_protocol_version=tls13, tls_maximum_protocol_version=tls13),
        alpn_protocols=alpn,
        tls_certificate_sds_secret_configs=[_secret("identity", IDENTITY_FILE)],
        combined_validation_context=v3.CommonTlsContext.CombinedCertificateValidationContext(
            default_validation_context=validation,
            validation_context_sds_secret_config=_secret("bundle", BUNDLE_FILE),
        ),
    )


def _secret(name: str, path: str) -> v3.SdsSecretConfig:
    source = v3.ConfigSource(
        path_config_source=v3.PathConfigSource(path=path), resource_api_version=v3.ApiVersion.V3
    )
    return v3.SdsSecretConfig(name=name, sds_config=source)


def _socket(context: v3.UpstreamTlsContext | v3.DownstreamTlsContext) -> v3.TransportSocket:
    return v3.TransportSocket(name="envoy.transport_sockets.tls", typed_config=codec.pack(context))
