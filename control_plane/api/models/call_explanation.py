"""What the proxies of the mesh would do with a request, by the configuration that they are sent."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.authorization import AccessPolicy, SidecarVerdict
from meshwright.control_plane.api.models.base import ApiModel

Verdict = Literal["", "passes", "refuses", "answers", "may refuse"]
"""What a step does with the request; empty: it describes."""


class ExplainedStep(ApiModel):
    """One part of a proxy's configuration that the request meets."""

    part: str = Field(description="Such as `listener`, `virtual host`, `route`, `timeout`, or a filter.")
    text: str
    verdict: Verdict = ""
    details: tuple[str, ...] = ()
    policies: tuple[AccessPolicy, ...] = Field((), description="Those that decided it.")


class ExplainedRoute(ApiModel):
    """A route that takes the request, or a share of such requests, and what becomes of it there."""

    share: float = Field(description="Of such requests, 0 to 1.")
    name: str = Field("", description="`Kind/name` of its document, else Envoy's name of it; may be empty.")
    position: int = Field(-1, description="Among the routes of the virtual host, from 0; -1: none takes it.")
    cluster: str = Field("", description="Where it is sent; empty: the proxy responds itself.")
    status: int = Field(0, description="The status with which the proxy responds; 0: that of the upstream.")
    location: str = Field("", description="Of a redirect.")
    certain: bool = Field(True, description="Whether the configuration alone decides what becomes of it.")
    method: str = ""
    host: str = Field("", description="As the upstream gets it, as are the path and the headers.")
    path: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    steps: tuple[ExplainedStep, ...] = ()


class ExplainedHop(ApiModel):
    """One proxy on the way. `of_routes`: the routes of the first hop that lead here, from 0."""

    proxy: str = Field(description="The service or gateway whose proxy it is.")
    direction: Literal["outbound", "inbound", "ingress"]
    of_routes: tuple[int, ...] = ()
    steps: tuple[ExplainedStep, ...] = ()
    routes: tuple[ExplainedRoute, ...] = ()
    proxies: int = Field(0, description="Proxies of it that are connected.")
    synced: int = Field(0, description="Those of them that have this configuration.")


class CallExplanation(ApiModel):
    """The way of a request: the caller's proxy or a gateway first, then those of the services it leads to."""

    summary: str
    verdict: Literal["forwarded", "refused", "answered", "may be refused"]
    revision: int = 0
    hops: tuple[ExplainedHop, ...] = ()


class ExplainedProbe(ApiModel):
    """An explanation, and what sidecars of the called service answer to the marked request."""

    explanation: CallExplanation
    proxy: str = Field(description="The proxy of the caller that sent it.")
    expected: Literal["allowed", "denied"] = Field(description="What they would answer as explained.")
    verdicts: tuple[SidecarVerdict, ...] = ()
