"""What a gateway believes and accepts of clients outside the mesh: settings of a Gateway document and of the
application file's `gateways`."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from meshwright.control_plane.policies.base import Spec
from meshwright.control_plane.policies.duration import Duration

MAX_TRUSTED_HOPS, MAX_TRUSTED_NETWORKS = 16, 64

REQUEST_TIMEOUT = IDLE_TIMEOUT = timedelta(seconds=300)
"""Envoy's "configuring Envoy as an edge proxy"."""


def _network(value: str) -> str:
    try:
        return str(ip_network(value))
    except ValueError:
        raise ValueError(
            f"{value!r} is not an address or network: write it like 10.0.0.0/8, without bits after the prefix"
        ) from None


Network = Annotated[str, AfterValidator(_network)]
Hops = Annotated[int, Field(strict=True, ge=0, le=MAX_TRUSTED_HOPS)]
Networks = Annotated[
    tuple[Network, ...],
    Field(min_length=1, max_length=MAX_TRUSTED_NETWORKS),
    AfterValidator(lambda networks: tuple(dict.fromkeys(networks))),
]


class EdgeSettings(Spec):
    """Trust and limits towards clients. A field of the Gateway document replaces the application file's."""

    trusted_proxies: Hops | Networks = Field(
        0,
        description="Proxies in front of the gateway whose x-forwarded-*, forwarded, x-real-ip and "
        "x-request-id headers and trace context are believed: their number, or their addresses and networks "
        "(10.0.0.0/8). A number believes every client that connects. Of other clients these headers are "
        "replaced or dropped.",
    )
    request_timeout: Duration = Field(
        REQUEST_TIMEOUT,
        description="How long a request may take to arrive in full; then 408. It ends once the response has "
        "started. 0s: no limit.",
    )
    idle_timeout: Duration = Field(
        IDLE_TIMEOUT,
        description="How long a request or response may go without a byte in either direction. A Timeout's "
        "idle replaces it on its routes. 0s: no limit.",
    )
    trace_context: Literal["Local", "Continue", "Restart"] = Field(
        "Local",
        description="Whose trace context (traceparent and the like) continues. Local: trusted proxies' "
        "and that of clients on the gateway's own host; Continue: everybody's; Restart: nobody's.",
    )
    paths: Literal["Normalize", "Keep"] = Field(
        "Normalize",
        description="Normalize resolves `.`, `..` and `//`, and responds 400 to escaped slashes, so that "
        "routes and apps see the same path. Keep passes paths unchanged.",
    )
    underscore_headers: Literal["Reject", "Keep"] = Field(
        "Reject",
        description="Reject responds 400 to header names with underscores, which CGI and WSGI apps confuse "
        "with hyphens.",
    )
    methods: Literal["Known", "Any"] = Field(
        "Known", description="Known responds 400 to methods that Envoy does not know. Any passes them."
    )

    def overridden_by(self, other: EdgeSettings) -> EdgeSettings:
        """These settings with the fields that `other` sets explicitly."""
        return EdgeSettings.model_validate(_explicit(self) | _explicit(other))


def edge_settings(spec: EdgeSettings) -> EdgeSettings:
    """The fields of a larger model that are set explicitly, as settings of their own."""
    return EdgeSettings.model_validate(_explicit(spec))


def _explicit(settings: EdgeSettings) -> dict[str, object]:
    names = settings.model_fields_set & EdgeSettings.model_fields.keys()
    return {name: getattr(settings, name) for name in sorted(names)}
