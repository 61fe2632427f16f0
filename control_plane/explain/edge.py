"""The edge of the mesh: what a gateway believes of its clients, and which hosts outside a sidecar calls."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshwright.control_plane.api import cluster_names
from meshwright.control_plane.core import external
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain.choice import ChosenHost
from meshwright.control_plane.explain.filters import seconds
from meshwright.control_plane.explain.flow import Flow

BAD_REQUEST = 400


def of_clients(flow: Flow, manager: v3.HttpConnectionManager, refs: Sequence[str]) -> None:
    """What the gateway's settings, of its document or the application file, say about this client."""
    hops = manager.xff_num_trusted_hops
    if hops:
        text = f"believed about the real client, behind {hops} of trustedProxies"
    elif manager.use_remote_address.value:
        text = "not believed about the real client (trustedProxies)"
    else:
        text = "believed about the real client, by its address (trustedProxies)"
    gateways = [ref for ref in refs if ref.startswith("Gateway/")]
    flow.say("client", text, refs=gateways, details=_limits(manager))
    rejects = v3.CommonHttpProtocolOptions.REJECT_REQUEST
    if manager.common_http_protocol_options.headers_with_underscores_action == rejects:
        names = sorted({name for name, _ in flow.request.headers if "_" in name})
        if names:
            flow.say("header", f"{names[0]} has an underscore (underscoreHeaders)", "refuses", refs=gateways)
            flow.respond(BAD_REQUEST)


def _limits(manager: v3.HttpConnectionManager) -> Iterator[str]:
    yield f"requestTimeout: {seconds(manager.request_timeout)}"
    yield f"idleTimeout: {seconds(manager.stream_idle_timeout)}"
    yield f"paths: {'Normalize' if manager.normalize_path.value else 'Keep'}"


def of_host(flow: Flow, chosen: ChosenHost) -> None:
    """Why a host outside may be called: an ExternalService declares it, or `outbound` says so."""
    name = chosen.host.name
    if name == external.HOST:
        denied = any(route.name == external.DENIED_ROUTE for route in chosen.host.routes)
        text = "deny: only hosts that an ExternalService declares" if denied else "allow: every host outside"
        flow.say("outbound", f"{text} (outbound, MESH_OUTBOUND)")
    elif cluster_names.is_external_node(name):
        ref = f"ExternalService/{name.partition('/')[2].partition(':')[0]}"
        flow.say("outbound", "a declared host outside the mesh", refs=[ref])
