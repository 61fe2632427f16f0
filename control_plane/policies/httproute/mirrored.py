"""A mirrored request is the original: the same host and headers.

Envoy marks its copies: it appends its own address to `x-forwarded-for` and sets `x-envoy-internal`. So the
caller's sidecar keeps the original address in a header of its own, and the callee's restores it.

Envoy sends a copy's body as it sends the original's, and holds the original back while the copy's buffers are
full. So a copy whose app reads nothing must end before the original does.
"""

from __future__ import annotations

from datetime import timedelta

from meshwright.control_plane.envoy import v3

_MARK = "x-meshwright-mirror"
_ADDRESS = "x-meshwright-mirrored-for"

IDLE_TIMEOUT = timedelta(seconds=15)
"""Silence after which a copy is dropped: Envoy's default for the response of an original."""

HEADERS = (_MARK, _ADDRESS)
"""Headers between two sidecars, which apps never see."""


def policy(cluster: str, share: v3.FractionalPercent) -> v3.RouteAction.RequestMirrorPolicy:
    """Copies this share of requests to the cluster."""
    return v3.RouteAction.RequestMirrorPolicy(
        cluster=cluster,
        runtime_fraction=v3.RuntimeFractionalPercent(default_value=share),
        disable_shadow_host_suffix_append=True,
        request_headers_mutations=[
            v3.ConfigHeaderMutation(append=_set(_MARK, "yes")),
            v3.ConfigHeaderMutation(append=_set(_ADDRESS, "%REQ(X-FORWARDED-FOR)%")),
            v3.ConfigHeaderMutation(remove="x-forwarded-for"),
        ],
    )


def restored(route: v3.Route) -> v3.Route:
    """The inbound route for copies: as `route`, with the headers of the original, and IDLE_TIMEOUT.

    The virtual host removes HEADERS afterwards: Envoy applies the changes of a route before those.
    """
    copy = v3.Route()
    copy.CopyFrom(route)
    copy.name = f"{route.name}-mirrored"
    copy.match.headers.append(v3.HeaderMatcher(name=_MARK, present_match=True))
    if copy.HasField("route"):
        copy.route.idle_timeout.FromTimedelta(IDLE_TIMEOUT)
    copy.request_headers_to_remove.extend(("x-forwarded-for", "x-envoy-internal"))
    copy.request_headers_to_add.append(_set("x-forwarded-for", f"%REQ({_ADDRESS.upper()})%"))
    return copy


def _set(name: str, value: str) -> v3.HeaderValueOption:
    return v3.HeaderValueOption(
        header=v3.HeaderValue(key=name, value=value),
        append_action=v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
