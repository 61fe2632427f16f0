"""HTTPS and TLS listeners of a gateway → views: which certificates, which routes, by which host name.

The listeners of one port are one listener of Envoy, which selects by the host name that is asked for (SNI).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.core.attachment import AttachmentPoint, Attachments, implementing
from meshwright.control_plane.core.backends import Services
from meshwright.control_plane.core.route_resolver import RouteResolver
from meshwright.control_plane.core.tcp_routes import TcpRouteResolver
from meshwright.control_plane.core.views import ListenerView, SecureListenerView, TlsView
from meshwright.control_plane.policies.certificate.spec import Certificate
from meshwright.control_plane.policies.gateway.spec import Gateway, Listener
from meshwright.control_plane.policies.gateway.tls import ListenerTLS


class SecureListenerResolver:
    """The listeners that speak TLS. `certificates` by name."""

    def __init__(
        self,
        attachments: Attachments,
        routes: RouteResolver,
        tcp_routes: TcpRouteResolver,
        certificates: Mapping[str, Certificate],
    ) -> None:
        self._attachments = attachments
        self._routes = routes
        self._tcp_routes = tcp_routes
        self._certificates = certificates

    def listener(self, services: Services, gateway: Gateway, group: list[Listener]) -> ListenerView | None:
        """The listeners of one port; None if none of them can be opened."""
        secure = tuple(
            view
            for listener in group
            if (view := self._secure(services, gateway, listener, group)) is not None
        )
        names = [listener.name for listener in group]
        name = "http" if "http" in names else names[0]
        return ListenerView(name, group[0].port, (), secure=secure) if secure else None

    def _secure(
        self, services: Services, gateway: Gateway, listener: Listener, group: list[Listener]
    ) -> SecureListenerView | None:
        listeners = gateway.spec.listeners
        tls = None if listener.passes_through else self._tls(gateway, listener)
        if tls is None and not listener.passes_through:
            return None
        refs = _refs(tls) if tls else ()
        if listener.protocol == "HTTPS":
            hosts = self._routes.secure_listener(services, gateway.name, listener, listeners)
            others = tuple(other.hostname for other in group if other is not listener)
            return SecureListenerView(
                listener.name, listener.hostname, tls, hosts, other_hosts=others, certificates=refs
            )
        point = AttachmentPoint(caller=gateway.name, gateway=gateway.name, listener=listener.name)
        policies = implementing(self._attachments.effective_at(point), "connection_filter")
        upstreams = self._tcp_routes.upstreams_by_host(services, gateway.name, listener, listeners)
        return SecureListenerView(
            listener.name,
            listener.hostname,
            tls,
            upstreams=upstreams,
            policies=policies,
            certificates=refs,
        )

    def _tls(self, gateway: Gateway, listener: Listener) -> TlsView | None:
        """How TLS ends; None without a certificate, or without the CA of client certificates."""
        config = listener.tls or ListenerTLS()
        certificates = self._files(ref.name for ref in config.certificate_refs)
        leaves = tuple(files for files in certificates if files.certificate)
        if not leaves:
            return None
        validation = gateway.spec.client_validation(listener)
        if validation is None:
            return TlsView(leaves, config.minimum_version)
        authorities = self._files(ref.name for ref in validation.ca_certificate_refs)
        cas = tuple(files for files in authorities if files.cas)
        if not cas:
            return None
        mode = validation.client_mode
        if mode == "Required" and config.clients_optional:
            mode = "Optional"
        return TlsView(leaves, config.minimum_version, cas, mode)

    def _files(self, names: Iterable[str]) -> tuple[CertificateFiles, ...]:
        candidates = (self._certificates.get(name) for name in dict.fromkeys(names))
        return tuple(certificate.files for certificate in candidates if certificate)


def _refs(tls: TlsView) -> tuple[str, ...]:
    return tuple(f"Certificate/{files.name}" for files in (*tls.certificates, *tls.client_cas))
