"""SecureListenerView → Envoy's listeners for HTTPS and TLS: filter chains by host name and kind of client.

A filter chain that changes drains its own connections only. The host name in the requests of a connection may
differ from that of its handshake, because browsers share connections between hosts of one certificate
(RFC 9110, section 7.4): such requests get 421 if another listener is for that host, and come back on a
connection of their own.
"""

from __future__ import annotations

from collections.abc import Iterator

from meshwright.control_plane.api import node_certificates
from meshwright.control_plane.core import client_certificates, connection_filters, edge, tcp
from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.core.views import (
    GatewayView,
    ListenerSettings,
    ListenerView,
    SecureListenerView,
    TlsView,
)
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import node_secret

ALPN = ("h2", "http/1.1")

CIPHERS = (
    "[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",
    "[ECDHE-RSA-AES128-GCM-SHA256|ECDHE-RSA-CHACHA20-POLY1305]",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
)
"""For TLS 1.2: those with forward secrecy and authenticated encryption (RFC 9325, section 4.2; Mozilla's
"intermediate" configuration). The cipher suites of TLS 1.3 are not configurable, and all are good."""

_VERSIONS = {"1.2": v3.TlsParameters.TLSv1_2, "1.3": v3.TlsParameters.TLSv1_3}

MISDIRECTED = 421
_MISDIRECTED_TEXT = "this connection is for another host: open one with this host's name (SNI)\n"


def filter_chains(
    gateway: GatewayView, settings: ListenerSettings, view: ListenerView, port: int
) -> list[v3.FilterChain]:
    """The filter chains of one port. They need `tls_inspector`."""
    return [
        chain
        for secure in view.secure
        for chain in (
            _connection_chains(secure, gateway.name, settings)
            if not secure.takes_requests
            else _request_chains(secure, gateway, settings, view.port or port)
        )
    ]


def tls_inspector() -> v3.ListenerFilter:
    """The listener filter that reads the host name from a client's first message."""
    return v3.ListenerFilter(
        name="envoy.filters.listener.tls_inspector", typed_config=codec.pack(v3.TlsInspector())
    )


def section_name(gateway: str, secure: SecureListenerView) -> str:
    """A listener's name: that of its route configuration, or of the filters of its connections."""
    return f"{gateway}/{secure.name}"


def _request_chains(
    secure: SecureListenerView, gateway: GatewayView, settings: ListenerSettings, port: int
) -> Iterator[v3.FilterChain]:
    for group in edge.clients(gateway.edge):
        route_config = section_name(gateway.name, secure)
        manager = http.connection_manager("ingress", "ingress", route_config, settings)
        edge.apply(manager, group, gateway.edge, port)
        if secure.tls and secure.tls.client_cas and secure.tls.client_mode != "Insecure":
            client_certificates.forward_client(manager)
        chain = edge.chain(manager, group)
        chain.name = f"{secure.name}/{group.name}"
        yield _for_host(chain, secure.hostname, secure.tls, ALPN)


def _connection_chains(
    secure: SecureListenerView, gateway: str, settings: ListenerSettings
) -> Iterator[v3.FilterChain]:
    name = section_name(gateway, secure)
    for host, upstream in secure.upstreams:
        entry = tcp.network_filter(
            name, upstream, "ingress", request_log=settings.request_log, section=secure.name
        )
        chain = v3.FilterChain(
            name=f"{secure.name}/{host or '*'}", filters=[*connection_filters.filters(name), entry]
        )
        yield _for_host(chain, host, secure.tls, ())


def _for_host(chain: v3.FilterChain, host: str, tls: TlsView | None, alpn: tuple[str, ...]) -> v3.FilterChain:
    """The chain for connections that begin with TLS and ask for a host."""
    chain.filter_chain_match.transport_protocol = "tls"
    if host:
        chain.filter_chain_match.server_names.append(host)
    if tls is not None:
        chain.transport_socket.CopyFrom(_socket(tls, alpn))
    return chain


def _socket(tls: TlsView, alpn: tuple[str, ...]) -> v3.TransportSocket:
    common = v3.CommonTlsContext(
        tls_params=v3.TlsParameters(
            tls_minimum_protocol_version=_VERSIONS[tls.minimum_version],
            tls_maximum_protocol_version=v3.TlsParameters.TLSv1_3,
            cipher_suites=CIPHERS,
        ),
        alpn_protocols=alpn,
        tls_certificate_sds_secret_configs=map(node_secret.config, tls.certificates),
    )
    context = v3.DownstreamTlsContext(common_tls_context=common)
    if tls.client_cas:
        context.require_client_certificate.value = tls.client_mode == "Required"
        _validate_clients(context.common_tls_context, tls)
    return v3.TransportSocket(name="envoy.transport_sockets.tls", typed_config=codec.pack(context))


def _validate_clients(common: v3.CommonTlsContext, tls: TlsView) -> None:
    validation = v3.CertificateValidationContext()
    if tls.client_mode == "Insecure":
        validation.trust_chain_verification = v3.CertificateValidationContext.ACCEPT_UNTRUSTED
    combined = common.combined_validation_context
    combined.default_validation_context.CopyFrom(validation)
    combined.validation_context_sds_secret_config.CopyFrom(
        node_secret.config(node_certificates.joined(tls.client_cas))
    )


def misdirected(secure: SecureListenerView) -> tuple[v3.VirtualHost, ...]:
    """What requests get whose host is another listener's."""
    if not secure.other_hosts:
        return ()
    route = v3.Route(
        name="misdirected",
        match=v3.RouteMatch(prefix="/"),
        direct_response=v3.DirectResponseAction(
            status=MISDIRECTED, body=v3.DataSource(inline_string=_MISDIRECTED_TEXT)
        ),
    )
    domains = [host or "*" for host in secure.other_hosts]
    return (v3.VirtualHost(name="misdirected", domains=domains, routes=[route]),)
