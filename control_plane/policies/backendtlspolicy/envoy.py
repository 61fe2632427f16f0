"""BackendTLSPolicy as the transport socket of the clusters of an ExternalService."""

from __future__ import annotations

from meshwright.control_plane.api.cluster_names import TCP_PORT, parse_cluster_name
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import outside_tls
from meshwright.control_plane.policies.backendtlspolicy.spec import BackendTLSPolicySpec
from meshwright.control_plane.policies.hooks import Hooks
from meshwright.control_plane.policies.outside_tls import ServerTrust


class BackendTLSPolicyHooks(Hooks[BackendTLSPolicySpec]):
    """TLS on the clusters whose callers do not open it themselves."""

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Open TLS. Clusters of https and tls ports carry the callers' own."""
        is_tcp = parse_cluster_name(cluster.name).port.startswith(TCP_PORT)
        if is_tcp or cluster.typed_extension_protocol_options:
            trust = ServerTrust(self.spec.validation.hostname)
            cluster.transport_socket.CopyFrom(outside_tls.socket(trust))
