"""The cluster of a host outside the mesh that a policy's filter calls: a key server, an authorizer."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import outside_tls
from meshwright.control_plane.policies.called_url import CalledURL
from meshwright.control_plane.policies.outside_tls import ServerTrust

CONNECT_TIMEOUT = timedelta(seconds=5)

DNS_REFRESH = timedelta(seconds=30)

HTTP2_ALPN = "h2"


def name(url: CalledURL, ca: str = "", *, http2: bool = False) -> str:
    """Begins with a slash as no service does; another trust or protocol is another cluster."""
    suffix = f"/{hashlib.sha256(ca.encode()).hexdigest()[:8]}" if ca else ""
    return f"/outside/{url.scheme}/{url.host}:{url.port}{'/h2' if http2 else ''}{suffix}"


def cluster(url: CalledURL, ca: str = "", *, http2: bool = False) -> v3.Cluster:
    """The host, resolved as the system does. `http2`: it is spoken without being negotiated (gRPC)."""
    cluster_name = name(url, ca, http2=http2)
    resolver = codec.pack(v3.GetAddrInfoDnsResolverConfig())
    message = v3.Cluster(
        name=cluster_name,
        type=v3.Cluster.LOGICAL_DNS,
        connect_timeout=CONNECT_TIMEOUT,
        dns_refresh_rate=DNS_REFRESH,
        dns_lookup_family=v3.Cluster.ALL,
        wait_for_warm_on_init=v3.BoolValue(value=False),
        typed_dns_resolver_config=v3.TypedExtensionConfig(
            name="envoy.network.dns_resolver.getaddrinfo", typed_config=resolver
        ),
    )
    message.load_assignment.cluster_name = cluster_name
    endpoint = message.load_assignment.endpoints.add().lb_endpoints.add().endpoint
    endpoint.address.socket_address.address = url.host
    endpoint.address.socket_address.port_value = url.port
    if http2:
        options = v3.HttpProtocolOptions()
        options.explicit_http_config.http2_protocol_options.SetInParent()
        extensions = message.typed_extension_protocol_options
        extensions["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"].CopyFrom(codec.pack(options))
    if url.scheme == "https":
        alpn = (HTTP2_ALPN,) if http2 else ()
        message.transport_socket.CopyFrom(outside_tls.socket(ServerTrust(url.host, ca, alpn=alpn)))
    return message
