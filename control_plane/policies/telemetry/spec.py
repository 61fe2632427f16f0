"""Telemetry: which requests are traced and which are logged, by a service's sidecars or a gateway."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import Field, model_validator

from meshwright.control_plane.policies.base import Combine, TargetedPolicy, TargetedSpec, TargetKind

if TYPE_CHECKING:
    from meshwright.control_plane.envoy import v3

DEFAULT_SAMPLING = 1.0
"""Percent of requests that are traced unless a policy says otherwise; all of them halve the throughput."""


class TelemetrySpec(TargetedSpec):
    """What is told of requests. Without any Telemetry the defaults here hold."""

    target_kinds: ClassVar[frozenset[TargetKind]] = frozenset({"Mesh", "Service", "Gateway"})

    sampling: float = Field(
        DEFAULT_SAMPLING,
        ge=0,
        le=100,
        description="Percent of requests that start a trace. One that comes with a trace goes on with it, "
        "whatever this says. Spans go to the control plane, or where the agents' MESH_OTLP says.",
    )
    access_log: Literal["Errors", "All", "Off"] = Field(
        "Errors",
        description="Which requests are logged, a JSON line each, in logs/NAME.proxy.log. Errors: answers of "
        "500 and above, and gRPC calls that failed by the server's fault.",
    )

    @model_validator(mode="after")
    def _all_callers(self) -> Self:
        if self.from_:
            raise ValueError("telemetry is of the sidecar itself, whoever calls: leave from out")
        return self

    def patch_hcm(self, manager: v3.HttpConnectionManager, service: str, *, traced: bool) -> None:
        """Configure logging, and tracing where there is somebody to send traces to (`traced`)."""
        from meshwright.control_plane.policies.telemetry import envoy  # noqa: PLC0415  validating needs none

        envoy.configure(self, manager, service, traced=traced)


class Telemetry(TargetedPolicy):
    """Says which requests a sidecar or gateway traces and logs.

    Both belong to its listeners, so a change lets their connections end and begin anew within ten minutes;
    requests are not harmed. The most specific one wins whole: the service or gateway, then the mesh.
    """

    combine: ClassVar[Combine] = "override"
    order: ClassVar[int] = 1000

    api_version: Literal["meshwright.io/v1"] = Field(description="Always meshwright.io/v1.")
    kind: Literal["Telemetry"] = Field(description="Always Telemetry.")
    spec: TelemetrySpec = Field(description="Where it applies and what is told.")
