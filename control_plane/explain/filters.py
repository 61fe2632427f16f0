"""The HTTP filters of a listener that the request of one route passes, with their verdicts. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from meshwright.control_plane.api.percent_text import percent_text
from meshwright.control_plane.core.header_changes import with_mutations
from meshwright.control_plane.core.text_match import header_matches, text_matches
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain import rbac, token
from meshwright.control_plane.explain.flow import Flow, header_details
from meshwright.control_plane.explain.resources import unpacked
from meshwright.control_plane.policies import hook_registry
from meshwright.control_plane.policies.hooks import ListenerDirection

Scopes = Sequence[Mapping[str, v3.Any]]
"""`typed_per_filter_config`, the most specific first: of a weighted cluster, the route, the virtual host."""

FORBIDDEN, PREFLIGHT_STATUS = 403, 200

_CORE = ("envoy.filters.http.on_demand", "envoy.filters.http.grpc_stats", "envoy.filters.http.router")


def run(flow: Flow, filters: Sequence[v3.HttpFilter], scopes: Scopes, refs: Sequence[str]) -> None:
    """Pass the filters in order, up to the first that responds. `refs`: the policies of the route."""
    for name, config in configured(filters, scopes):
        if name in _CORE or flow.status:
            continue
        kinds = _kinds(flow.proxy.direction).get(name, ())
        relevant = tuple(ref for ref in refs if ref.partition("/")[0] in kinds)
        handler = _HANDLERS.get(type(config))
        if handler is not None:
            handler(flow, config, relevant)
        elif relevant:
            _unpredictable(flow, name, relevant)


def configured(filters: Sequence[v3.HttpFilter], scopes: Scopes) -> Iterator[tuple[str, Any]]:
    """The filters that run for a request of a route, with the configuration of the route, if it has one."""
    for item in filters:
        config = next((scope[item.name] for scope in scopes if item.name in scope), None)
        if config is None:
            if not item.disabled:
                yield item.name, None
            continue
        message: Any = unpacked(config)
        if isinstance(message, v3.RouteFilterConfig):
            if message.disabled:
                continue
            message = unpacked(message.config) if message.config.type_url else None  # empty: no settings
        yield item.name, message


@cache
def _kinds(direction: ListenerDirection) -> Mapping[str, tuple[str, ...]]:
    """The kinds that configure each filter."""
    kinds: dict[str, tuple[str, ...]] = {}
    for kind, hooks in hook_registry.hook_classes().items():
        entries = (
            *hooks.http_filters(direction),
            *hooks.route_filters(direction),
            *hooks.shared_filters(direction),
        )
        for _, name, _ in entries:
            kinds[name] = (*kinds.get(name, ()), kind)
    cors = "envoy.filters.http.cors"
    return {**kinds, cors: (*kinds.get(cors, ()), "CORS")}


def _unpredictable(flow: Flow, name: str, refs: tuple[str, ...]) -> None:
    """A filter whose verdict depends on more than the request: an authorizer, a password, a count."""
    kinds = {ref.partition("/")[0] for ref in refs}
    for kind in sorted(kinds):
        uncertainty = _MAY_REFUSE.get(kind)
        of_kind = [ref for ref in refs if ref.startswith(f"{kind}/")]
        flow.say(kind, uncertainty or f"applies ({name})", "may refuse" if uncertainty else "", refs=of_kind)


_MAY_REFUSE = {
    "ExternalAuthorization": "an authorizer is asked",
    "APIKeyAuthentication": "a valid API key is required",
    "BasicAuthentication": "a valid name and password are required",
    "RateLimit": "refused with 429 above the limit",
}


# --- by filter ----------------------------------------------------------------------------------------


def _authorize(flow: Flow, config: v3.RBACPerRoute, refs: tuple[str, ...]) -> None:
    rules = config.rbac.rules
    denies = rules.action == v3.RBACRules.DENY
    if not config.rbac.HasField("rules"):
        return
    try:
        allowed, name = rbac.decide(rules, flow)
    except rbac.UndecidableError as error:
        flow.say("authorization", f"depends on {error}", "may refuse", refs=refs)
        return
    decided = [ref for ref in refs if name.startswith(f"{ref}/")]
    if allowed:
        text = "no deny rule matches" if denies else f"allowed by rule {name}"
        flow.say("authorization", text, "passes", refs=decided or ((), refs)[denies])
        return
    reason = f"denied by rule {name}" if denies else "no allow rule matches"
    flow.say("authorization", reason, "refuses", refs=decided or refs)
    flow.respond(FORBIDDEN)


def _cors(flow: Flow, config: v3.CorsPolicy, refs: tuple[str, ...]) -> None:
    origin = flow.request.header("origin")
    if origin is None:
        return
    allowed = any(text_matches(item, origin) for item in config.allow_origin_string_match)
    preflight = flow.request.method == "OPTIONS" and flow.request.values("access-control-request-method")
    if not allowed:
        flow.say("CORS", f"pages of {origin} may not read the response", "passes", refs=refs)
    elif preflight:
        flow.say("CORS", f"answers the preflight request of {origin}", "answers", refs=refs)
        flow.respond(PREFLIGHT_STATUS)
    else:
        flow.say("CORS", f"pages of {origin} may read the response", "passes", refs=refs)


def _fault(flow: Flow, config: v3.HTTPFault, refs: tuple[str, ...]) -> None:
    if not all(header_matches(item, flow.request.values(item.name)) for item in config.headers):
        flow.say("fault", "not for this request's headers", "passes", refs=refs)
        return
    if config.HasField("delay"):
        delay = config.delay
        share = percent(delay.percentage)
        flow.say("fault", f"delays {percent_text(share)} by {seconds(delay.fixed_delay)}", refs=refs)
    if not config.HasField("abort"):
        return
    share, status = percent(config.abort.percentage), config.abort.http_status
    grpc = config.abort.WhichOneof("error_type") == "grpc_status"
    what = f"gRPC status {config.abort.grpc_status}" if grpc else f"status {status}"
    if share >= 100:
        flow.say("fault", f"answers with {what}", "answers", refs=refs)
        flow.respond(200 if grpc else status)
    elif share > 0:
        flow.say("fault", f"answers {percent_text(share)} with {what}", "may refuse", refs=refs)


def _mutate(flow: Flow, config: v3.HeaderMutationPerRoute, refs: tuple[str, ...]) -> None:
    before = tuple(flow.request.headers)
    flow.set_headers(with_mutations(before, config.mutations.request_mutations, flow.text))
    details = header_details(before, tuple(flow.request.headers))
    if details:
        flow.say("header changes", "of the request", refs=refs, details=details)


def _limit(flow: Flow, _config: object, refs: tuple[str, ...]) -> None:
    flow.say("rate limit", "refused with 429 above the limit", "may refuse", refs=refs)


def percent(fraction: v3.FractionalPercent) -> float:
    """A fraction in percent."""
    denominators = {v3.FractionalPercent.HUNDRED: 100, v3.FractionalPercent.TEN_THOUSAND: 10_000}
    return fraction.numerator * 100 / denominators.get(fraction.denominator, 1_000_000)


def seconds(duration: v3.Duration) -> str:
    """`1.5s`, or `none`."""
    total = duration.ToTimedelta().total_seconds()
    return f"{total:g}s" if total else "none"


_Handler = Callable[[Flow, Any, tuple[str, ...]], None]

_HANDLERS: Mapping[type, _Handler] = {
    v3.RBACPerRoute: _authorize,
    v3.CorsPolicy: _cors,
    v3.HTTPFault: _fault,
    v3.HeaderMutationPerRoute: _mutate,
    v3.JwtPerRoute: token.authenticate,
    v3.LocalRateLimit: _limit,
    v3.RateLimitPerRoute: _limit,
}
