"""Envoy's bootstrap: what a sidecar needs before it can get the rest from the control plane. Pure.

Plain dicts for JSON, with Envoy's field names. Everything that differs between the instances of a service is
here, so that the control plane can send all of them the same bytes.
"""

from __future__ import annotations

from meshwright.sidecar.bootstrap.document import build_bootstrap, envoy_command
from meshwright.sidecar.bootstrap.params import AppCluster, BootstrapParams, Json

__all__ = ["AppCluster", "BootstrapParams", "Json", "build_bootstrap", "envoy_command"]
