"""The configuration of an agent, from the settings of its node."""

from __future__ import annotations

import os
from pathlib import Path

from meshwright.control_plane.api.state_dir import MeshAddresses
from meshwright.control_plane.config import Settings
from meshwright.control_plane.envoy_binary import envoy_binary
from meshwright.sidecar.config import AgentConfig, Workload


def agent_config(
    settings: Settings, folder: Path, addresses: MeshAddresses, *workloads: Workload
) -> AgentConfig:
    """The configuration of an agent with its files in `folder`."""
    return AgentConfig(
        addresses=addresses,
        state=folder,
        envoy=envoy_binary(),
        bind=settings.bind,
        advertise=settings.advertise,
        trust_domain=addresses.trust_domain,
        otlp=os.environ.get("MESH_OTLP", ""),
        proxy_credential=settings.proxy_credential == "on",
        drain_delay=settings.drain_delay,
        certificates=settings.certificate_folder,
        workloads=workloads,
    )
