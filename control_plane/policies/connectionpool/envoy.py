"""ConnectionPool on Envoy's clusters; the HTTP options of a cluster travel packed in an Any."""

from __future__ import annotations

from typing import ClassVar

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.connectionpool.spec import SECOND, ConnectionPoolSpec
from meshwright.control_plane.policies.hooks import Hooks, Symptom

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


class ConnectionPoolHooks(Hooks[ConnectionPoolSpec]):
    """Connection settings, on the cluster."""

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom("UF", ("connectTimeout",), details="timeout", statistic="upstream_cx_connect_timeout"),
    )

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Set connection options, and HTTP options where the port speaks HTTP."""
        spec = self.spec
        if spec.connect_timeout is not None:
            cluster.connect_timeout.FromTimedelta(spec.connect_timeout)
        if spec.tcp_keepalive is not None:
            keepalive = cluster.upstream_connection_options.tcp_keepalive
            keepalive.keepalive_time.value = spec.tcp_keepalive.time // SECOND
            keepalive.keepalive_interval.value = spec.tcp_keepalive.interval // SECOND
            keepalive.keepalive_probes.value = spec.tcp_keepalive.probes
        if OPTIONS in cluster.typed_extension_protocol_options:
            self._set_http_options(cluster.typed_extension_protocol_options[OPTIONS])

    def _set_http_options(self, packed: v3.Any) -> None:
        spec = self.spec
        options = v3.HttpProtocolOptions.FromString(packed.value)
        common = options.common_http_protocol_options
        if spec.idle_timeout is not None:
            common.idle_timeout.FromTimedelta(spec.idle_timeout)
        if spec.max_requests_per_connection is not None:
            common.max_requests_per_connection.value = spec.max_requests_per_connection
        if spec.max_concurrent_streams is not None:
            # Hosts outside the mesh are spoken to as the caller speaks, unless their port is gRPC.
            as_the_caller = options.HasField("use_downstream_protocol_config")
            config = options.use_downstream_protocol_config if as_the_caller else options.explicit_http_config
            http2 = config.http2_protocol_options
            http2.max_concurrent_streams.value = spec.max_concurrent_streams
        packed.CopyFrom(codec.pack(options))
