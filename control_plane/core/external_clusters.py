"""ExternalClusterView → Envoy's cluster for a port of an ExternalService.

With one set of targets Envoy resolves their names again and again, balances over all addresses, and ejects
those that fail. Several hosts, wildcards and networks have none: there each host is resolved as it is called
(see external.py), and what needs a list of addresses has no effect.
"""

from __future__ import annotations

from datetime import timedelta
from functools import lru_cache

from meshwright.control_plane.api import header_limits
from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.core import clusters, external, http2, tcp
from meshwright.control_plane.core.attachment import refs_of
from meshwright.control_plane.core.resource import CDS, Resource, encode
from meshwright.control_plane.core.views import ExternalClusterView
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import outside_tls
from meshwright.control_plane.policies.outside_tls import ServerTrust

DNS_REFRESH = timedelta(seconds=5)
"""How old an address becomes, where DNS says nothing about it: Envoy's default."""

HTTP1 = 0
"""HTTP1 of envoy.type.v3.CodecClientType."""


@lru_cache(maxsize=4096)
def cluster(view: ExternalClusterView) -> Resource:
    """The cluster with the policies in force; no panic routing, no limits except policies'."""
    message = v3.Cluster(
        name=view.name,
        connect_timeout=external.CONNECT_TIMEOUT,
        lb_policy=v3.Cluster.LEAST_REQUEST,
        common_lb_config=v3.Cluster.CommonLbConfig(
            healthy_panic_threshold=v3.Percent(value=0), update_merge_window=timedelta(0)
        ),
        circuit_breakers=v3.CircuitBreakers(thresholds=[clusters.unlimited_thresholds()]),
        ignore_health_on_host_removal=True,
    )
    if view.port.is_http:
        options = codec.pack(_http_options(view))
        message.typed_extension_protocol_options[clusters.HTTP_OPTIONS].CopyFrom(options)
    else:
        message.upstream_connection_options.tcp_keepalive.CopyFrom(tcp.KEEPALIVE)
    if _opens_tls(view):
        message.transport_socket.CopyFrom(outside_tls.socket(_trust(view)))
    for policy in view.policies:
        policy.hooks.patch_cluster(message)
    if view.spec.is_fixed:
        _set_targets(message, view)
        _adapt_checks(message, view)
    else:
        _resolve_per_call(message)
    certificates = (
        f"Certificate/{files.name}" for policy in view.policies for _, files in policy.certificates
    )
    refs = (view.ref, *refs_of(view.policies), *dict.fromkeys(certificates))
    return encode(CDS, view.name, message, policies=refs)


def _opens_tls(view: ExternalClusterView) -> bool:
    """Callers of https and tls ports open TLS themselves."""
    return view.spec.tls is not None and view.port.protocol not in ("https", "tls")


def _trust(view: ExternalClusterView) -> ServerTrust:
    tls = view.spec.tls
    if tls is None:
        return ServerTrust()
    files = tls.client_certificate
    return ServerTrust(
        view.spec.server_name,
        tls.ca,
        verify=tls.mode == "Verify",
        tls13=tls.min_version == "1.3",
        identity=CertificateFiles(view.ref, files.certificate, files.private_key) if files else None,
    )


def _http_options(view: ExternalClusterView) -> v3.HttpProtocolOptions:
    """gRPC needs HTTP/2; anything else is spoken as the caller speaks it."""
    options = v3.HttpProtocolOptions()
    if view.port.protocol == "grpc":
        options.explicit_http_config.http2_protocol_options.CopyFrom(http2.towards_clients())
    else:
        options.use_downstream_protocol_config.CopyFrom(external.as_the_caller())
    if _opens_tls(view) and not view.spec.server_name:
        options.upstream_http_protocol_options.auto_sni = True
        verified = view.spec.tls is not None and view.spec.tls.mode == "Verify"
        options.upstream_http_protocol_options.auto_san_validation = verified
    limits = options.common_http_protocol_options
    limits.max_headers_count.value = header_limits.MAX_HEADERS
    limits.max_response_headers_kb.value = header_limits.MAX_KIB
    return options


# --- addresses ----------------------------------------------------------------------------------------


def _set_targets(message: v3.Cluster, view: ExternalClusterView) -> None:
    spec = view.spec
    resolution = spec.effective_resolution
    types = {"dns": v3.Cluster.STRICT_DNS, "dns-logical": v3.Cluster.LOGICAL_DNS}
    message.type = types.get(resolution, v3.Cluster.STATIC)
    if resolution != "static":
        # Only a logical host tries both families; elsewhere half of the instances might be unreachable.
        logical = resolution == "dns-logical"
        message.dns_lookup_family = v3.Cluster.ALL if logical else v3.Cluster.V4_PREFERRED
        message.dns_refresh_rate.FromTimedelta(DNS_REFRESH)
        message.respect_dns_ttl = bool(spec.resolvers)
        message.typed_dns_resolver_config.CopyFrom(_resolver(spec.resolvers))
    message.load_assignment.cluster_name = view.name
    lb_endpoints = message.load_assignment.endpoints.add().lb_endpoints
    ports = {item.address: item.port for item in spec.endpoints}
    for target in spec.targets:
        endpoint = lb_endpoints.add().endpoint
        endpoint.address.socket_address.address = target
        endpoint.address.socket_address.port_value = ports.get(target) or spec.target_port(view.port)
        endpoint.hostname = spec.host_name


def _resolver(servers: tuple[str, ...]) -> v3.TypedExtensionConfig:
    """The system's resolver (hosts file, search domains), as the app itself would ask; or these servers."""
    if not servers:
        return external.system_resolver()
    config = v3.CaresDnsResolverConfig()
    for server in servers:
        host, _, port = server.rpartition(":")
        address = v3.SocketAddress(address=host.strip("[]"), port_value=int(port))
        config.resolvers.append(v3.Address(socket_address=address))
    return v3.TypedExtensionConfig(name="envoy.network.dns_resolver.cares", typed_config=codec.pack(config))


def _adapt_checks(message: v3.Cluster, view: ExternalClusterView) -> None:
    """Probes go to the host itself, not to a sidecar; without probes ejected addresses return by time."""
    for check in message.health_checks:
        if check.HasField("http_health_check"):
            probe = check.http_health_check
            probe.host = view.spec.host_name or view.spec.targets[0]
            probe.codec_client_type = HTTP1
        elif check.HasField("grpc_health_check"):
            check.grpc_health_check.authority = view.spec.host_name or view.spec.targets[0]
    eject_by_time(message, view)


def eject_by_time(message: v3.Cluster, view: ExternalClusterView) -> None:
    """Let ejected hosts return after the policy's time, where no health check readmits them."""
    if view.ejected_for is not None and not message.health_checks:
        message.outlier_detection.base_ejection_time.FromTimedelta(view.ejected_for)
        message.outlier_detection.max_ejection_time.FromTimedelta(view.ejected_for)


def _resolve_per_call(message: v3.Cluster) -> None:
    """Each host by itself: Envoy balances, probes and ejects nothing here."""
    for field in (
        "lb_policy",
        "load_balancing_policy",
        "health_checks",
        "outlier_detection",
        "common_lb_config",
    ):
        message.ClearField(field)
    external.set_resolved_per_call(message)
