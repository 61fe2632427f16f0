"""What the mesh's policies refuse: who is refused, where, by which policy, how often."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from meshwright.control_plane.api.models.base import ApiModel

RefusalOutcome = Literal["limited", "unauthenticated", "denied", "rejected", "handshake"]
"""`limited`: beyond a rate limit (429). `unauthenticated`: without valid credentials (401). `denied`: not
allowed (403, or a TCP connection). `rejected`: any other status, such as 413 for a body that is too large,
or 503 where a policy cannot decide. `handshake`: a connection without the mutual TLS that is required."""


class RefusalCount(ApiModel):
    """Requests (or TCP connections) from one caller that the same policies refused at one service's proxies.

    If Envoy does not say which of several policies refused, all that may have are in `policies`.
    """

    service: str = Field(description="The service or gateway whose proxies refused.")
    caller: str = Field(
        "", description="The caller, proven; `outside`: clients of a gateway; empty: nobody knows."
    )
    callee: str = Field("", description="The service that was called; empty: unknown.")
    policies: tuple[str, ...] = Field((), description="`Kind/name`; empty for a handshake.")
    outcome: RefusalOutcome
    per_s: float = Field(0.0, description="Per second, over the window.")
    total: int = Field(description="All of them since `since`.")
    since: float = Field(description="When the first of them was refused, in epoch seconds.")
    last: float = Field(description="When the last of them was refused, in epoch seconds.")
    request: str = Field("", description="The ID of one of the last, for `mesh why`.")


class RefusalList(ApiModel):
    """What was refused lately, the most frequent first.

    Counted from the proxies' records, so it is too low while some are dropped in an overload. What has not
    happened for a quarter of an hour is forgotten.
    """

    window: float = Field(10.0, description="Seconds over which rates are measured.")
    refusals: tuple[RefusalCount, ...] = ()
