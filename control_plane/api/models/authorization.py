"""Who may call what: one call checked, every pair of services, and the calls that were seen."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from meshwright.control_plane.api.models.base import ApiModel

Access = Literal["allowed", "partly", "denied"]
"""What a caller may do at a service: every request, some, or none."""


HeaderName = Annotated[str, StringConstraints(max_length=256)]
HeaderValue = Annotated[str, StringConstraints(max_length=8192)]


HOST = (
    "The Host header; empty: the service's name, or the hostname of the gateway's first listener, "
    "`localhost` if that is empty or a wildcard."
)


class AccessQuery(ApiModel):
    """A call to check, which is not made. Empty fields: the usual."""

    caller: str = Field("", max_length=63, description="The calling service or gateway; empty: no identity.")
    service: str = Field("", max_length=63, description="The called service; empty with a gateway.")
    gateway: str = Field(
        "", max_length=63, description="The gateway that a client outside calls; its routes say what follows."
    )
    method: str = Field("GET", max_length=32)
    path: str = Field("/", max_length=2048, description="With or without a query, which rules do not see.")
    host: str = Field("", max_length=255, description=HOST)
    port: str = Field(
        "",
        max_length=63,
        description="The name of the service's port, or of the gateway's listener; empty: the first.",
    )
    headers: tuple[tuple[HeaderName, HeaderValue], ...] = Field((), max_length=64)
    claims: dict[str, str] = Field(
        {}, description="Claims of a verified token, by name; `realm.role` is role in realm."
    )
    address: str = Field("127.0.0.1", max_length=45, description="The address of the host that connects.")


class AccessPolicy(ApiModel):
    """A policy that gave the verdict, and its last change."""

    name: str = Field(description="`Kind/name`.")
    source: str = Field("", description="Where it was applied from, `file:line`; empty: unknown.")
    revision: int = Field(0, description="The revision that last changed it; 0: unknown.")
    author: str = ""


class AccessCheck(ApiModel):
    """The verdict on a call, by the configuration that is served."""

    allowed: bool
    place: str = Field("", description="The service or gateway whose rules gave the verdict.")
    route: str = Field("", description="`Kind/name` of the gateway's route that takes the call.")
    services: tuple[str, ...] = Field((), description="Where it leads; of a gateway's call.")
    message: str = Field(description="Why, a sentence.")
    rule: str = Field("", description="`Authorization/NAME/RULE`, the rule that decided; empty: none.")
    policies: tuple[AccessPolicy, ...] = Field((), description="Those responsible; empty: none is in force.")
    audited: tuple[str, ...] = Field((), description="Rules on trial that would refuse the call.")
    sidecars: int = Field(0, description="Proxies of `place` that are connected.")
    synced: int = Field(0, description="Those of them that have this configuration.")


class SidecarVerdict(ApiModel):
    """What the sidecar of one instance of the called service answers to a probe."""

    instance: str
    verdict: Literal["allowed", "denied", "unknown"] = Field(
        description="unknown: something else than its rules answered."
    )
    rule: str = Field(
        "", description="Of a denial: `Authorization/NAME/RULE`, or `none`, if no allow rule matches."
    )
    answer: str = Field("", description="What answered in place of its rules.")


class AccessProbe(ApiModel):
    """The computed verdict on a call, and what sidecars of the called service say."""

    check: AccessCheck
    proxy: str = Field(description="The proxy of the caller that sent the probes.")
    verdicts: tuple[SidecarVerdict, ...] = ()


class ProbeRequest(ApiModel):
    """A probe that a proxy shall send to the instance at `address` (`ip:port`) of a cluster."""

    cluster: str
    address: str
    method: str
    host: str
    path: str
    headers: tuple[tuple[str, str], ...] = ()


class ProbeAnswer(ApiModel):
    """The answer to a probe; `allowed`: it is that of a sidecar whose rules let it through.

    `text` is the beginning of the body, or the message of gRPC.
    """

    status: int
    allowed: bool
    text: str = ""


class ServiceAccess(ApiModel):
    """Who may call a service. Callers without an entry in `callers` have `others`."""

    service: str
    callers: dict[str, Access] = Field({}, description="Every gateway, and the services that a rule names.")
    others: Access = "allowed"
    clients: dict[str, Access] = Field(
        {}, description="Clients of each gateway that has a route to the service: by the rules of both."
    )
    policies: tuple[str, ...] = Field((), description="`Kind/name` of the policies in force.")


class AccessMatrix(ApiModel):
    """Every service with its callers. `callers` are all services and gateways."""

    callers: tuple[str, ...] = ()
    services: tuple[ServiceAccess, ...] = ()


class ObservedOperation(ApiModel):
    """A method and path that was called."""

    method: str
    path: str = Field(
        description="As in a rule: `{id}` is any segment; empty: what rules cannot name, or too many."
    )
    grpc: bool = Field(False, description="A gRPC call; the path is `/SERVICE/METHOD`.")
    requests: float = Field(description="How many of those that were recorded.")


class ObservedCall(ApiModel):
    """Calls that were seen from a caller to a service, without those that rules refused."""

    caller: str
    role: Literal["service", "gateway"]
    service: str
    protocol: Literal["http", "tcp"] = "http"
    ports: tuple[str, ...] = Field((), description="Called ports, of a service that has several.")
    requests: float = Field(description="Requests, or connections of TCP.")
    operations: tuple[ObservedOperation, ...] = Field(
        (), description="What was called, by the requests that were recorded: mostly those traced."
    )


class ObservedCalls(ApiModel):
    """All calls of the last `seconds`, by caller and service."""

    seconds: float = Field(description="At most an hour, and since the control plane started.")
    calls: tuple[ObservedCall, ...] = ()
