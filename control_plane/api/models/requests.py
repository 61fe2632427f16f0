"""Single requests as proxies logged them, live taps, and the explanation of a failed or slow request.

Times are epoch seconds by the proxy's clock, durations milliseconds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.traces import ResponseFlag

Direction = Literal["inbound", "outbound", "ingress"]
"""`inbound`: a sidecar received it for its app. `outbound`: a sidecar sent it for its app. `ingress`: a
gateway received it from outside the mesh and forwarded it."""


class Request(ApiModel):
    """One request (or TCP connection) as one proxy logged it. Several proxies log the same request."""

    seq: int = Field(0, description="Sequence number at the control plane that received it.")
    id: str = Field("", description="x-request-id: the same at every proxy on the request's path.")
    trace: str = Field("", description="The 32 digits of its trace, which has spans only if it was sampled.")
    time: float = Field(description="When the proxy received it.")
    service: str = Field(description="The service or gateway of the proxy, proven by its certificate.")
    proxy: str = Field("", description="The proxy's name, e.g. orders-1.")
    direction: Direction
    caller: str = Field(
        "", description="Who sent it; empty if that is not proven, e.g. from outside the mesh."
    )
    callee: str = Field("", description="The service it was for; empty: none.")
    method: str = Field("", description="The HTTP method; `TCP` for a connection.")
    host: str = ""
    path: str = Field("", description="Without the query.")
    status: int = Field(0, description="The HTTP status; 0: no response was started.")
    grpc_status: str = Field("", description="The gRPC status by Envoy's name; empty: not gRPC.")
    flags: tuple[ResponseFlag, ...] = Field((), description="Envoy's response flags, explained.")
    details: str = Field("", description="Envoy's response code details: what produced the response.")
    transport_failure: str = Field("", description="Envoy's reason for a failed upstream connection.")
    duration: float = Field(
        0.0,
        description="Until the end of the response. Rounded down to whole milliseconds for TCP and for "
        "responses that were cut off.",
    )
    attempts: int = Field(0, description="Attempts the proxy made; 0: it did not forward the request.")
    upstream: str = Field("", description="The cluster it was forwarded to.")
    upstream_host: str = Field("", description="Address of the last attempt; empty: not forwarded.")
    route: str = ""
    policies: tuple[str, ...] = Field((), description="`Kind/name` of the policies that shaped its route.")
    refused_by: tuple[str, ...] = Field(
        (), description="In a tap: `Kind/name` of the policies that refused it."
    )
    failed: bool = Field(
        False, description="5xx, a gRPC status of a server error, or a response flag that means failure."
    )


class RequestList(ApiModel):
    """Requests, newest first."""

    requests: tuple[Request, ...] = ()


class TapFilter(ApiModel):
    """Which of a service's requests a tap shows; empty fields match any. `path` is a prefix."""

    service: str = Field(max_length=63)
    errors: bool = False
    method: str = Field("", max_length=20)
    path: str = Field("", max_length=512)
    caller: str = Field("", max_length=63)


class RequestPage(ApiModel):
    """Requests since the last page; `omitted` more did not fit. `cursor`: position at each control plane."""

    requests: tuple[Request, ...] = ()
    omitted: int = 0
    cursor: dict[str, int] = Field({})


class TapEvent(ApiModel):
    """One event of a tap: a request, a change of who is tapped, or a number of omitted requests.

    `tapping` of the service's `proxies` report every request; `not_tapping` names the others. `omitted`
    requests arrived but exceeded the rate limit.
    """

    request: Request | None = None
    proxies: int = 0
    tapping: int = 0
    not_tapping: tuple[str, ...] = ()
    omitted: int = 0


class ResponsiblePolicy(ApiModel):
    """A policy that explains an outcome, and the newest change to it before the request."""

    kind: str
    name: str
    excerpt: str = Field("", description="The relevant field, e.g. `maxRequests: 10`.")
    revision: int = Field(0, description="The revision that last changed it; 0: unknown.")
    author: str = ""
    message: str = Field("", description="The author's reason for the change.")
    time: float = Field(0.0, description="When it was changed.")


class Cause(ApiModel):
    """A failure or delay at one proxy, and the policies that explain it."""

    service: str
    proxy: str = ""
    caller: str = ""
    callee: str = ""
    status: int = 0
    grpc_status: str = ""
    flag: str = Field("", description="Envoy's response flag; empty: none.")
    message: str = Field(description="What happened, one sentence.")
    policies: tuple[ResponsiblePolicy, ...] = Field((), description="Policies that explain it; may be empty.")
    instances: tuple[str, ...] = Field(
        (),
        description="Where no instance could be reached: those that are unhealthy now, and why, a sentence "
        "each.",
    )


class Hop(ApiModel):
    """The request at one proxy; hops are in the order of the request's path."""

    depth: int = 0
    service: str
    proxy: str = ""
    direction: Direction
    caller: str = ""
    callee: str = ""
    request: str = Field("", description="Method and path.")
    status: int = 0
    grpc_status: str = ""
    flags: tuple[str, ...] = ()
    start: float = Field(description="Milliseconds after the first hop.")
    duration: float
    self_time: float = Field(description="The part of `duration` not spent in the hops below.")
    attempts: int = 0
    failed: bool = False


class Explanation(ApiModel):
    """Why a request failed or was slow. `summary` is one line; `causes` are the root cause first."""

    id: str = Field(description="The id in the query.")
    request: str = Field("", description="The x-request-id.")
    trace: str = ""
    time: float
    verdict: Literal["failed", "refused", "slow", "fine"] = Field(
        description="refused: a proxy of the mesh responded with 4xx in place of the app."
    )
    summary: str
    causes: tuple[Cause, ...] = ()
    hops: tuple[Hop, ...] = ()
    source: Literal["log", "trace"] = Field(
        "log", description="Based on the proxies' request logs, or on spans."
    )
