"""The bootstrap of the scratch Envoy: a stream of resources, and none of the peers that these name. Pure."""

from __future__ import annotations

from typing import Any

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.policies.re2 import MAX_PROGRAM_SIZE

Json = dict[str, Any]

_TYPE = "type.googleapis.com/envoy"
_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

NODE = "verify"

ABSENT = "absent.sock"
"""A socket that nobody binds."""

PEERS = (cluster_names.ADMIN, cluster_names.AGENT, cluster_names.TELEMETRY, cluster_names.COLLECTOR)
"""Clusters of every bootstrap that resources refer to by name; Envoy rejects loggers of unknown ones."""


def build(xds_socket: str) -> Json:
    """The bootstrap, for the socket of the stream."""
    ads = {"ads": {}, "resource_api_version": "V3", "initial_fetch_timeout": "0s"}
    back_off = {"base_interval": "0.1s", "max_interval": "0.5s"}
    envoy_grpc = {"cluster_name": cluster_names.XDS, "retry_policy": {"retry_back_off": back_off}}
    return {
        "node": {"id": NODE, "cluster": NODE},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": envoy_grpc}],
            },
            "lds_config": ads,
            "cds_config": ads,
        },
        "static_resources": {
            "clusters": [_cluster(cluster_names.XDS, xds_socket), *(_cluster(name, ABSENT) for name in PEERS)]
        },
        "typed_dns_resolver_config": _no_dns(),
        "layered_runtime": {"layers": [{"name": "mesh", "static_layer": _runtime()}]},
        "bootstrap_extensions": [
            {
                "name": "envoy.bootstrap.internal_listener",
                "typed_config": {
                    "@type": f"{_TYPE}.extensions.bootstrap.internal_listener.v3.InternalListener"
                },
            }
        ],
    }


def _runtime() -> Json:
    """What decides whether a proxy accepts a resource (sidecar.bootstrap.document)."""
    return {"re2.max_program_size.error_level": MAX_PROGRAM_SIZE}


def _cluster(name: str, path: str) -> Json:
    endpoint = {"endpoint": {"address": {"pipe": {"path": path}}}}
    http2: Json = {"explicit_http_config": {"http2_protocol_options": {}}}
    return {
        "name": name,
        "type": "STATIC",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": [endpoint]}]},
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {"@type": f"{_TYPE}{_HTTP_OPTIONS[5:]}", **http2}
        },
    }


def _no_dns() -> Json:
    """A resolver that gets no answer: nobody listens at the discard port of loopback."""
    nobody = {"socket_address": {"address": "127.0.0.1", "port_value": 9}}
    package = f"{_TYPE}.extensions.network.dns_resolver.cares.v3"
    config = {"@type": f"{package}.CaresDnsResolverConfig", "resolvers": [nobody]}
    return {"name": "envoy.network.dns_resolver.cares", "typed_config": config}
