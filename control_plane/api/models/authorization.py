"""Who may call what: one call checked, every pair of services, and the calls that were seen."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel

Access = Literal["allowed", "partly", "denied"]
"""What a caller may do at a service: every request, some, or none."""


class AccessQuery(ApiModel):
    """A call to check, which is not made. Empty fields: the usual."""

    caller: str = Field("", max_length=63, description="The calling service or gateway; empty: no identity.")
    service: str = Field(max_length=63, description="The called service.")
    method: str = Field("GET", max_length=32)
    path: str = Field("/", max_length=2048, description="With or without a query, which rules do not see.")
    host: str = Field("", max_length=255, description="The Host header; empty: the service's name.")
    port: str = Field("", max_length=63, description="The name of the service's port; empty: its first one.")
    headers: tuple[tuple[str, str], ...] = Field((), max_length=64)
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
    message: str = Field(description="Why, a sentence.")
    rule: str = Field("", description="`Authorization/NAME/RULE`, the rule that decided; empty: none.")
    policies: tuple[AccessPolicy, ...] = Field((), description="Those responsible; empty: none is in force.")
    audited: tuple[str, ...] = Field((), description="Rules on trial that would refuse the call.")
    sidecars: int = Field(0, description="Sidecars of the service that are connected.")
    synced: int = Field(0, description="Those of them that have this configuration.")


class ServiceAccess(ApiModel):
    """Who may call a service. Callers without an entry in `callers` have `others`."""

    service: str
    callers: dict[str, Access] = Field({}, description="Every gateway, and the services that a rule names.")
    others: Access = "allowed"
    policies: tuple[str, ...] = Field((), description="`Kind/name` of the policies in force.")


class AccessMatrix(ApiModel):
    """Every service with its callers. `callers` are all services and gateways."""

    callers: tuple[str, ...] = ()
    services: tuple[ServiceAccess, ...] = ()


class ObservedCall(ApiModel):
    """Calls that were seen from a caller to a service."""

    caller: str
    role: Literal["service", "gateway"]
    service: str
    requests: float = Field(description="Requests, or connections of TCP.")


class ObservedCalls(ApiModel):
    """All calls of the last `seconds`, by caller and service."""

    seconds: float
    calls: tuple[ObservedCall, ...] = ()
