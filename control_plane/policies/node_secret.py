"""Certificates in files of a node as secrets of the Envoys there: the agent beside them serves them."""

from __future__ import annotations

from datetime import timedelta

from meshwright.control_plane.api import cluster_names, node_certificates
from meshwright.control_plane.api.node_certificates import CertificateFiles
from meshwright.control_plane.envoy import v3


def config(files: CertificateFiles) -> v3.SdsSecretConfig:
    """Where Envoy gets the secret (SDS over REST)."""
    source = v3.ApiConfigSource(
        api_type=v3.ApiConfigSource.REST,
        transport_api_version=v3.ApiVersion.V3,
        cluster_names=[cluster_names.AGENT],
        refresh_delay=timedelta(seconds=node_certificates.RETRY_DELAY),
        request_timeout=timedelta(seconds=node_certificates.REQUEST_TIMEOUT),
    )
    origin = v3.ConfigSource(
        api_config_source=source,
        initial_fetch_timeout=timedelta(seconds=node_certificates.FIRST_ANSWER_TIMEOUT),
        resource_api_version=v3.ApiVersion.V3,
    )
    return v3.SdsSecretConfig(name=files.secret, sds_config=origin)
