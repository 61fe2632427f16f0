"""Why a proxy responded in place of the app: one table for the body of the response and for `mesh why`.

Envoy names the cause of each of its own responses in `%RESPONSE_CODE_DETAILS%`. Many of them have no body,
and some come before the request has an ID. With `local_replies` each says why and carries `x-request-id`.
"""

from __future__ import annotations

from functools import lru_cache

from meshwright.control_plane.api import cluster_names, header_limits
from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import hook_registry
from meshwright.control_plane.policies.hooks import ListenerDirection
from meshwright.control_plane.policies.reply_reason import Reason

FALLBACK_ID = "%START_TIME(%s.%9f)%-%CONNECTION_ID%"
"""The ID of a request that was refused before it got one, in the response and in the request log alike."""

FORWARDED = "via_upstream"
"""The details of a response that is not the proxy's own."""

LOOPBACK_POLICY = "loopback"
"""The name of the rule that refuses loopback addresses, as the details show it (external.py)."""

OWN_RESPONSE = f"response.code_details != '{FORWARDED}'"
"""A CEL expression: the proxy itself responded."""


_LIMITS = f"{header_limits.MAX_HEADERS} headers, {header_limits.MAX_KIB} KiB"

INVALID_RESPONSE = Reason(
    ("upstream_reset_before_response_started{protocol_error",),
    f"the response is not valid HTTP, or its headers exceed the mesh's limit ({_LIMITS})",
)

_NO_WEBSOCKET = "the WebSocket handshake was not accepted: the response was neither 101 nor an error"

REASONS = (
    Reason(
        ("http1.headers_too_large", "http2.header_list_size_too_large", "http2.cookies_total_bytes_too"),
        f"the headers are larger than the mesh's limit ({_LIMITS})",
    ),
    Reason(
        ("http1.too_many_headers", "http2.too_many_headers"),
        f"there are more headers than the mesh's limit ({_LIMITS})",
    ),
    Reason(
        ("http1.unexpected_underscore", "http2.unexpected_underscore"),
        "a header's name contains an underscore, which this gateway refuses: use a hyphen, or set "
        "underscoreHeaders: Keep of the Gateway",
    ),
    Reason(
        ("path_normalization_failed",),
        "the path contains a fragment (#) or, at a gateway that normalises paths, an escaped slash or "
        "backslash: change the path, or set paths: Keep of the Gateway",
    ),
    Reason(("query_missing_content_type",), "a QUERY needs a content-type"),
    Reason(("upgrade_failed",), "the mesh does not forward this protocol upgrade"),
    Reason(
        ("request_overall_timeout",),
        "the request did not arrive in full within the requestTimeout of the gateway",
    ),
    Reason(
        ("stream_idle_timeout",),
        "the control plane does not respond, and this sidecar has not called this host before: see "
        "`mesh status`, and try again",
        only_if="!has(xds.cluster_name)",
        status=503,
    ),
    Reason(("request_header_timeout",), "the headers of the request did not arrive in time"),
    INVALID_RESPONSE,
    # HTTP/2 between sidecars takes any 2xx for the tunnel of a WebSocket (RFC 8441, section 5): the caller
    # would get 101 for a handshake that the app did not accept.
    Reason(("websocket_handshake_unsuccessful",), _NO_WEBSOCKET, only_if="response.code < 300", status=502),
    Reason(("websocket_handshake_unsuccessful",), _NO_WEBSOCKET),
    Reason(("cluster_not_found",), "the cluster of the route is not known to this proxy"),
    Reason(("missing_host_header", "empty_host_header"), "the request names no host"),
    Reason(
        ("absolute_path_rejected", "missing_path_rejected"),
        "the target of the request is not a path (OPTIONS * has none), and the mesh routes by path",
    ),
    Reason(("low_version",), "the mesh does not speak this version of HTTP"),
    Reason(("http1.", "http2."), "the request is not valid HTTP"),
    Reason(
        ("dns_resolution_failure",),
        "the mesh has no such service, and DNS has no such host",
        only_if="!request.host.contains('.')",
        status=404,
    ),
    Reason(("dns_resolution_failure",), "the mesh has no such service, and DNS did not resolve the host"),
    Reason(
        (f"rbac_access_denied_matched_policy[{LOOPBACK_POLICY}]",),
        "a sidecar forwards nothing to its own host's loopback address: call it without the proxy (NO_PROXY)",
    ),
)
"""The first entry that matches applies."""

NO_EGRESS = Reason(
    ("no_healthy_upstream",),
    "no instance of the gateway that leads to this host is available",
    only_if=f"has(xds.cluster_name) && xds.cluster_name.contains('/{cluster_names.EXTERNAL_NODE}/')"
    " && !xds.cluster_name.startsWith('/')",
    body="mesh: %LOCAL_REPLY_BODY%: %UPSTREAM_CLUSTER% (%RESPONSE_CODE_DETAILS%)",
)
"""By the form of the names of such clusters, `egress/external/cards`."""

OUTBOUND_REASONS = (
    Reason(("route_not_found",), "the mesh has no such service, or no rule of its routes matches"),
    NO_EGRESS,
)
INGRESS_REASONS = (Reason(("route_not_found",), "no route of this gateway matches host and path"), NO_EGRESS)

DIRECT_RESPONSES = {
    "external-denied": "the host is outside the mesh, and such calls are denied (outbound: deny)",
    "external-opaque": "the host's port is declared as https, tls or tcp, and the request is plain HTTP",
    "no-such-port": "the service has no HTTP port of this number",
    "ambiguous-path": "the path is ambiguous, and an HTTPRoute decides by path",
    "https-refused": "the mesh cannot route HTTPS to its services: sidecars encrypt the traffic of http://",
}
"""Why a route responds itself, by its name."""

_WITH_OWN_BODY = ("direct_response", "upstream_", "fault_filter_abort", "no_healthy_upstream")
"""Details of responses whose body says enough. An unreachable app is `upstream_reset_before_response_...`."""


def reason(details: str) -> str:
    """The sentence for the details of a response; empty if the table has none."""
    entries = (*REASONS, *hook_registry.reply_reasons())
    matching = (entry for entry in entries if entry.details and details.startswith(entry.details))
    return next((entry.explain(details) for entry in matching), "")


def direct_response(route: str) -> str:
    """Why a route responds itself; empty for a route without a backend."""
    return DIRECT_RESPONSES.get(route) or hook_registry.direct_responses().get(route, "")


@lru_cache(maxsize=16)
def local_replies(direction: ListenerDirection) -> v3.LocalReplyConfig:
    """Bodies and request IDs of a connection manager's own responses."""
    specific = {"outbound": OUTBOUND_REASONS, "ingress": INGRESS_REASONS}.get(direction, ())
    mappers = [mapper(entry) for entry in (*specific, *REASONS, *hook_registry.reply_reasons(direction))]
    # The router's own headers are suppressed; this one tells a limit from an instance's 503.
    overloaded = v3.HeaderValueOption(header=v3.HeaderValue(key="x-envoy-overloaded", value="true"))
    limit = v3.AccessLogFilter(response_flag_filter=v3.ResponseFlagFilter(flags=["UO"]))
    mappers.append(v3.ResponseMapper(filter=limit, headers_to_add=[overloaded]))
    unnamed = " && ".join(f"!{_starts_with((prefix,))}" for prefix in _WITH_OWN_BODY)
    details = "%LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)"
    mappers.append(
        v3.ResponseMapper(
            filter=matches(unnamed), body_format_override=_text(details), headers_to_add=_request_id()
        )
    )
    return v3.LocalReplyConfig(mappers=mappers)


def matches(expression: str) -> v3.AccessLogFilter:
    """A filter of access logs and local replies that evaluates a CEL expression."""
    config = v3.ExpressionFilter(expression=expression)
    return v3.AccessLogFilter(
        extension_filter=v3.ExtensionFilter(
            name="envoy.access_loggers.extension_filters.cel", typed_config=codec.pack(config)
        )
    )


def mapper(entry: Reason) -> v3.ResponseMapper:
    """The mapper that gives a proxy's own responses this reason."""
    condition = " && ".join(filter(None, (_starts_with(entry.details), entry.only_if)))
    built = v3.ResponseMapper(filter=matches(condition), headers_to_add=_request_id())
    if entry.body:
        built.body_format_override.CopyFrom(_text(entry.body))
    for name, value in entry.headers:
        header = v3.HeaderValue(key=name, value=value)
        built.headers_to_add.add(header=header, append_action=v3.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD)
    if entry.text:
        built.body.inline_string = entry.text
    if entry.status:
        built.status_code.value = entry.status
    return built


def _starts_with(prefixes: tuple[str, ...]) -> str:
    tests = " || ".join(f"response.code_details.startsWith('{prefix}')" for prefix in prefixes)
    return f"({tests})" if tests else ""


def _text(template: str) -> v3.SubstitutionFormatString:
    return v3.SubstitutionFormatString(text_format_source=v3.DataSource(inline_string=template))


def _request_id() -> list[v3.HeaderValueOption]:
    """The request's ID. Where the request was refused before it got one, the fallback."""
    return [
        v3.HeaderValueOption(
            header=v3.HeaderValue(key="x-request-id", value=value),
            append_action=v3.HeaderValueOption.ADD_IF_ABSENT,
        )
        for value in ("%REQ(X-REQUEST-ID)%", FALLBACK_ID)
    ]
