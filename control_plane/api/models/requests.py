"""What is told of single requests: by each proxy that had one in hand, and why one failed or was slow.

Times are seconds since the epoch by the proxy's clock, durations milliseconds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel
from meshwright.control_plane.api.models.traces import ResponseFlag

Direction = Literal["inbound", "outbound", "ingress"]
"""`inbound`: a sidecar took it in for its app; `outbound`: a sidecar sent it for its app; `ingress`: a
gateway took it in from outside and sent it on."""


class Request(ApiModel):
    """One request (or TCP connection) as one proxy told it. Several proxies tell of the same one."""

    seq: int = Field(0, description="Its number at the control plane that took it in; later ones have more.")
    id: str = Field("", description="x-request-id: the same at every proxy of its way.")
    trace: str = Field("", description="Its trace's 32 digits; it has spans only when it is sampled.")
    time: float = Field(description="When the proxy began with it.")
    service: str = Field(description="Whose proxy told it, proven by its certificate.")
    proxy: str = Field("", description="The proxy's own name, e.g. orders-1.")
    direction: Direction
    caller: str = Field("", description="Who sent it; empty where that is not proven: from outside, say.")
    callee: str = Field("", description="The service it was for; empty when it is for none.")
    method: str = Field("", description="HTTP's method; `TCP` for a connection.")
    host: str = ""
    path: str = Field("", description="Without its query.")
    status: int = Field(0, description="HTTP's status; 0: no answer was begun.")
    grpc_status: str = Field("", description="gRPC's status as Envoy calls it; empty where it is no gRPC.")
    flags: tuple[ResponseFlag, ...] = Field((), description="Envoy's response flags with their meaning.")
    details: str = Field("", description="Envoy's own words on where the answer comes from.")
    transport_failure: str = Field("", description="What Envoy says of a connection that could not be made.")
    duration: float = Field(
        0.0,
        description="From its begin to the end of its answer. Cut off to whole ones where the answer was not "
        "sent to its end, and for TCP.",
    )
    attempts: int = Field(0, description="Tries that the proxy made; 0: it was not sent on.")
    upstream: str = Field("", description="The cluster that it was sent to.")
    upstream_host: str = Field("", description="The address of the last try; empty: it was not sent on.")
    route: str = ""
    policies: tuple[str, ...] = Field((), description="`Kind/name` of what shaped its route.")
    failed: bool = Field(False, description="5xx, a server's gRPC failure, or a flag that is no success.")


class RequestList(ApiModel):
    """Requests, the newest first."""

    requests: tuple[Request, ...] = ()


class TapFilter(ApiModel):
    """What a listener wants to see of a service's requests; empty: any. `path` is how a path begins."""

    service: str = Field(max_length=63)
    errors: bool = False
    method: str = Field("", max_length=20)
    path: str = Field("", max_length=512)
    caller: str = Field("", max_length=63)


class RequestPage(ApiModel):
    """What came since a listener last looked: `more` are left out. `marks` say how far it has heard each
    control plane, for the next look."""

    requests: tuple[Request, ...] = ()
    omitted: int = 0
    cursor: dict[str, int] = Field({})


class TapEvent(ApiModel):
    """What a listener of a tap gets at once: at most one of the parts is not empty.

    `listening` of `proxies` of the service tell all their requests; `silent` names those that do not. `more`
    requests came that are not shown, for there were too many at a time.
    """

    request: Request | None = None
    proxies: int = 0
    tapping: int = 0
    not_tapping: tuple[str, ...] = ()
    omitted: int = 0


class ResponsiblePolicy(ApiModel):
    """A policy that explains what happened, and the newest change of it before the request."""

    kind: str
    name: str
    excerpt: str = Field("", description="What of it matters here, e.g. `maxRequests: 10`.")
    revision: int = Field(0, description="The revision that brought it to what it was; 0: not known.")
    author: str = ""
    message: str = Field("", description="What the author said of the change.")
    time: float = Field(0.0, description="When that was.")


class Cause(ApiModel):
    """One thing that went wrong (or took long) at one proxy, with what explains it."""

    service: str
    proxy: str = ""
    caller: str = ""
    callee: str = ""
    status: int = 0
    grpc_status: str = ""
    flag: str = Field("", description="Envoy's flag; empty: none.")
    message: str = Field(description="What happened, one sentence.")
    policies: tuple[ResponsiblePolicy, ...] = Field(
        (), description="Those that explain it; none: no policy does."
    )


class Hop(ApiModel):
    """A request at one proxy, in the order of its way."""

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
    start: float = Field(description="Milliseconds after the first step.")
    duration: float
    self_time: float = Field(description="Of it what no step below it took.")
    attempts: int = 0
    failed: bool = False


class Explanation(ApiModel):
    """Why a request failed or was slow. `summary` is one line; `reasons` the cause first."""

    id: str = Field(description="What was asked for.")
    request: str = Field("", description="Its x-request-id.")
    trace: str = ""
    time: float
    verdict: Literal["failed", "slow", "fine"]
    summary: str
    causes: tuple[Cause, ...] = ()
    hops: tuple[Hop, ...] = ()
    source: Literal["log", "trace"] = Field("log", description="Whether proxies' logs tell it, or spans.")
