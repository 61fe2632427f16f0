"""The explanation of a call that the fake admin API gives."""

from __future__ import annotations

from meshwright.control_plane.api.models.authorization import AccessPolicy, AccessQuery
from meshwright.control_plane.api.models.call_explanation import (
    CallExplanation,
    ExplainedHop,
    ExplainedRoute,
    ExplainedStep,
)

SPLIT = AccessPolicy(name="HTTPRoute/inventory-canary", source="canary.yaml:1", revision=40, author="ada")
LIMITS = AccessPolicy(name="CircuitBreaker/inventory-limits", source="limits.yaml:9", revision=41)


def explained_call(query: AccessQuery, revision: int) -> CallExplanation:
    """A request that a route, a breaker and an Authorization see; the last refuses it without `x-user`."""
    allowed = any(name == "x-user" for name, _ in query.headers)
    decision = ExplainedStep(
        part="authorization",
        text="allowed by rule Authorization/users/0" if allowed else "no allow rule matches",
        verdict="passes" if allowed else "refuses",
    )
    route = ExplainedRoute(
        share=1.0,
        cluster=query.service,
        steps=(
            ExplainedStep(part="route", text=f"{query.method} {query.path}", policies=(SPLIT,)),
            ExplainedStep(part="circuit breaker", text="opens after 5 failures in a row", policies=(LIMITS,)),
        ),
    )
    inbound = ExplainedRoute(share=1.0, cluster="app", steps=(decision,))
    callee = query.service or "orders"
    return CallExplanation(
        summary=f"forwarded to {callee}" if allowed else f"refused by the proxy of {callee} with 403",
        verdict="forwarded" if allowed else "refused",
        revision=revision,
        hops=(
            ExplainedHop(
                proxy=query.caller or query.gateway,
                direction="ingress" if query.gateway else "outbound",
                routes=(route,),
                proxies=1,
                synced=1,
            ),
            ExplainedHop(proxy=callee, direction="inbound", routes=(inbound,), proxies=2, synced=1),
        ),
    )
