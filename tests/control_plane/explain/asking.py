"""Questions about requests in the small world of most tests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from meshwright.control_plane.api.models.authorization import AccessQuery
from meshwright.control_plane.api.models.call_explanation import CallExplanation, ExplainedHop, ExplainedStep
from meshwright.control_plane.api.models.proxies import ProxyStatus
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core.snapshot import Bindings
from meshwright.control_plane.core.translate import translate
from meshwright.control_plane.core.world import World
from meshwright.control_plane.status.call_explanation import explanation
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution
from tests.control_plane.core.worlds import exchange


def explain(
    text: str | World, *, connected: Sequence[tuple[Identity, Bindings]] = (), **query: Any
) -> CallExplanation:
    """The explanation of a request with these policies; by default of one from orders to inventory."""
    translation = translate(exchange(text) if isinstance(text, str) else text)
    sources = {
        document.ref: f"{document.ref.partition('/')[2]}.yaml:1" for document in translation.world.documents
    }
    proxies = [
        ProxyStatus(name=f"inventory-{number}", service="inventory", state=state, revision=1, error="")
        for number, state in ((1, "synced"), (2, "pending"), (3, "disconnected"))
    ]
    fields = query if "gateway" in query else {"caller": "orders", "service": "inventory", **query}
    attribution = PolicyAttribution(translation.world.documents)
    return explanation(translation, AccessQuery(**fields), attribution, sources, proxies, connected=connected)


def step(hop: ExplainedHop, part: str, route: int = 0) -> ExplainedStep:
    """The last step of this name, before routes or at one of them."""
    steps = (*hop.steps, *hop.routes[route].steps)
    return [item for item in steps if item.part == part][-1]
