"""The cost of what gateways do to a connection or a response: TLS of clients, and compression."""

from __future__ import annotations

import json
from typing import Any, Literal

from bench.features import Change
from bench.kinds import in_force
from meshwright.control_plane.core import secure_gateway
from meshwright.control_plane.policies.compression.envoy import CompressionHooks
from meshwright.control_plane.policies.compression.spec import CompressionSpec

ALGORITHMS = ("gzip", "br", "zstd")

PAGE = json.dumps(
    [
        {"order": f"o-{number * 7919 % 99991:05}", "item": f"item {number % 13}", "price": number * 37 % 997}
        for number in range(280)
    ]
)
"""What is compressed: some 16 KiB of JSON."""


def https(side: Literal["client", "server"], bootstrap: dict[str, Any]) -> None:
    """Clients speak TLS with the first Envoy, as at a gateway: its versions, ciphers and protocols."""
    if side == "server":
        return
    resources = bootstrap["static_resources"]
    inside = resources["clusters"][0]["transport_socket"]["typed_config"]["common_tls_context"]
    versions = {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}
    context = {
        "tls_params": {**versions, "cipher_suites": list(secure_gateway.CIPHERS)},
        "tls_certificates": inside["tls_certificates"],
        "alpn_protocols": list(secure_gateway.ALPN),
    }
    kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
    resources["listeners"][0]["filter_chains"][0]["transport_socket"] = {
        "name": "envoy.transport_sockets.tls",
        "typed_config": {"@type": kind, "common_tls_context": context},
    }


def compressions() -> dict[str, Change]:
    """A change of a pair for each algorithm: the second Envoy compresses the response."""
    changes = {}
    for algorithm in ALGORITHMS:
        spec = CompressionSpec.model_validate({"targetRefs": [], "algorithms": [algorithm]})
        hooks = CompressionHooks(spec, "Compression/a")
        changes[f"compression, {algorithm}"] = in_force(hooks, ("accept-encoding", algorithm), at="ingress")
    return changes
