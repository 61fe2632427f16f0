"""ConnectionPool in a cluster's HTTP options, which travel packed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from meshwright.control_plane.envoy import codec, v3

if TYPE_CHECKING:
    from meshwright.control_plane.policies.connectionpool.spec import ConnectionPoolSpec

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def configure(spec: ConnectionPoolSpec, cluster: v3.Cluster) -> None:
    """Put what concerns HTTP in the cluster's options; a cluster of a TCP port has none and stays."""
    packed = cluster.typed_extension_protocol_options
    if OPTIONS not in packed:
        return
    options = v3.HttpProtocolOptions.FromString(packed[OPTIONS].value)
    if spec.idle_timeout is not None:
        options.common_http_protocol_options.idle_timeout.FromTimedelta(spec.idle_timeout)
    if spec.max_requests_per_connection is not None:
        options.common_http_protocol_options.max_requests_per_connection.value = (
            spec.max_requests_per_connection
        )
    if spec.max_concurrent_streams is not None:
        http2 = options.explicit_http_config.http2_protocol_options
        http2.max_concurrent_streams.value = spec.max_concurrent_streams
    packed[OPTIONS].CopyFrom(codec.pack(options))
