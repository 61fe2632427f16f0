"""BackendTLSPolicy as the transport socket of the clusters of an ExternalService."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.api.cluster_names import TCP_PORT, parse_cluster_name
from meshwright.control_plane.api.node_certificates import CertificateFiles, joined
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import outside_tls
from meshwright.control_plane.policies.backendtlspolicy.spec import BackendTLSPolicySpec
from meshwright.control_plane.policies.hooks import Hooks
from meshwright.control_plane.policies.outside_tls import ServerTrust

MISSING = "/nonexistent/caFile"
"""In place of the files of Certificates that do not exist, or have no `caFile`."""


class BackendTLSPolicyHooks(Hooks[BackendTLSPolicySpec]):
    """TLS on the clusters whose callers do not open it themselves."""

    def certificate_names(self) -> Sequence[str]:
        """The authorities."""
        return [ref.name for ref in self.spec.validation.ca_certificate_refs]

    def patch_cluster(self, cluster: v3.Cluster) -> None:
        """Open TLS. Clusters of https and tls ports carry the callers' own."""
        is_tcp = parse_cluster_name(cluster.name).port.startswith(TCP_PORT)
        if is_tcp or cluster.typed_extension_protocol_options:
            cluster.transport_socket.CopyFrom(outside_tls.socket(self._trust()))

    def _trust(self) -> ServerTrust:
        validation = self.spec.validation
        names = tuple(name.value for name in validation.subject_alt_names)
        if validation.well_known_ca_certificates:
            return ServerTrust(validation.hostname, proven=names)
        members = [files for files in self.certificates.values() if files.cas] or [self._missing()]
        return ServerTrust(validation.hostname, proven=names, authorities=joined(members))

    def _missing(self) -> CertificateFiles:
        """A secret that no agent has: connections fail, as they must without any authority."""
        return CertificateFiles("+".join(self.certificate_names()), cas=(MISSING,))
