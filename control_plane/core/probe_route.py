"""The inbound route that answers probes (api/probes.py) in place of the app.

Every service has it, with rules or without: a probe that finds a configuration older than expected must not
reach the app either.
"""

from __future__ import annotations

from meshwright.control_plane.api import probes
from meshwright.control_plane.envoy import v3

_ANSWER = ((probes.HEADER, "allowed"), ("cache-control", "no-store"))


def answered(route: v3.Route) -> list[v3.Route]:
    """The route for probes beside `route`: the same filters with the same configuration, then an answer."""
    if not route.HasField("route"):
        return []
    probe = v3.Route(
        name=f"{route.name}-probe",
        match=route.match,
        metadata=route.metadata,
        typed_per_filter_config=route.typed_per_filter_config,
        direct_response=v3.DirectResponseAction(status=probes.STATUS),
        response_headers_to_add=[
            v3.HeaderValueOption(
                header=v3.HeaderValue(key=name, value=value),
                append_action=v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
            )
            for name, value in _ANSWER
        ],
    )
    probe.match.headers.append(v3.HeaderMatcher(name=probes.HEADER, present_match=True))
    return [probe]
