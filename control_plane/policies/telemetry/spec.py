"""Telemetry: which requests a service's sidecars or a gateway trace and log."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind

DEFAULT_SAMPLING = 1.0
"""Percent of requests that are traced without a policy. Tracing every request halves the throughput."""


class TelemetrySpec(TargetedSpec):
    """Tracing and access logs. Without a policy the defaults apply."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service", "Gateway"})

    sampling: float = Field(
        DEFAULT_SAMPLING,
        ge=0,
        le=100,
        description="Percentage of requests that start a trace. A request that carries a trace context "
        "continues it regardless. Spans go to the control plane, or to the collector that MESH_OTLP of the "
        "agents names.",
    )
    query_strings: Literal["Redact", "Keep"] = Field(
        "Redact",
        description="Whether spans of sidecars and gateways hold the query of a URL, which may be secret. "
        "Logs and the request log never do.",
    )
    access_log: Literal["Errors", "All", "Off"] = Field(
        "Errors",
        description="Which requests are logged, one JSON line each, in logs/NAME.proxy.log. Errors: "
        "responses with 500 or above, and gRPC calls that failed with a server error.",
    )

    @model_validator(mode="after")
    def _all_callers(self) -> Self:
        if self.from_:
            raise ValueError("telemetry applies to the sidecar itself, whoever calls: leave from out")
        return self


class Telemetry(TargetedPolicy):
    """Sets which requests a sidecar or gateway traces and logs.

    Both are settings of its listeners, so a change drains connections, which reconnect within ten minutes;
    requests are unaffected. The most specific policy applies: service or gateway, then mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 1000

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Telemetry"] = Field(description="Always Telemetry.")
    spec: TelemetrySpec = Field(description="Targets, tracing and logging.")
