"""The verdict of Envoy's JWT filter on a request whose claims are given. Pure."""

from __future__ import annotations

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.explain.flow import Flow
from meshwright.control_plane.explain.resources import extension
from meshwright.control_plane.policies.jwtauthentication.envoy import NAME, UNAUTHORIZED


def authenticate(flow: Flow, route: v3.JwtPerRoute, refs: tuple[str, ...]) -> None:
    """What the route requires; the claims of `flow.sender` are those of a token that the filter accepts.

    Without them the request has no token. One that it carries itself cannot be verified here.
    """
    part = "authentication"
    config = extension(flow.proxy.node, NAME)
    if not isinstance(config, v3.JwtAuthentication) or route.requirement_name not in config.requirement_map:
        flow.say(part, "the proxy has not got the issuers yet", "refuses", refs=refs)
        flow.respond(UNAUTHORIZED)
        return
    requirement = config.requirement_map[route.requirement_name]
    _remove_claim_headers(flow, config, requirement)
    claims = flow.sender.claims
    if claims is None and _carries_token(flow, config, requirement):
        flow.say(
            part, "only the issuer's keys can say whether its token is valid: give its claims with --claim",
            "may refuse", refs=refs,
        )  # fmt: skip
        return
    valid = _valid_providers(flow, config, requirement)
    if not _satisfied(requirement, valid):
        problem = "it has no token" if claims is None else f"no issuer is {claims.get('iss')}"
        flow.say(part, f"a token is required: {problem}", "refuses", refs=refs)
        flow.respond(UNAUTHORIZED)
        return
    if claims is None:
        flow.say(part, "it has no token, and none is required", "passes", refs=refs)
        return
    headers = tuple(flow.request.headers)
    for name in sorted(valid):
        provider = config.providers[name]
        flow.tokens[provider.payload_in_metadata] = claims
        for entry in provider.claim_to_headers:
            value = claims.get(entry.claim_name)
            headers += ((entry.header_name.lower(), str(value)),) if value is not None else ()
    flow.set_headers(headers)
    flow.say(part, f"its token is taken as a valid one of {', '.join(sorted(valid))}", "passes", refs=refs)


def _remove_claim_headers(flow: Flow, config: v3.JwtAuthentication, requirement: v3.JwtRequirement) -> None:
    """The headers that hold claims are those of the filter: what the request has under their names goes."""
    names = {
        entry.header_name.lower()
        for name in _providers(requirement)
        for entry in config.providers[name].claim_to_headers
    }
    flow.set_headers(tuple(pair for pair in flow.request.headers if pair[0].lower() not in names))


def _valid_providers(flow: Flow, config: v3.JwtAuthentication, requirement: v3.JwtRequirement) -> set[str]:
    """The providers whose token it is: that of the claim `iss`, without one those that are required."""
    claims = flow.sender.claims
    if claims is None:
        return set()
    named = _providers(requirement)
    issuer = claims.get("iss")
    return {name for name in named if issuer is None or config.providers[name].issuer == issuer}


def _providers(requirement: v3.JwtRequirement) -> set[str]:
    match requirement.WhichOneof("requires_type"):
        case "provider_name":
            return {requirement.provider_name}
        case "requires_any" | "requires_all" as kind:
            return {name for item in getattr(requirement, kind).requirements for name in _providers(item)}
    return set()


def _satisfied(requirement: v3.JwtRequirement, valid: set[str]) -> bool:
    match requirement.WhichOneof("requires_type"):
        case "provider_name":
            return requirement.provider_name in valid
        case "requires_any":
            return any(_satisfied(item, valid) for item in requirement.requires_any.requirements)
        case "requires_all":
            return all(_satisfied(item, valid) for item in requirement.requires_all.requirements)
    return True  # a missing token is allowed


def _carries_token(flow: Flow, config: v3.JwtAuthentication, requirement: v3.JwtRequirement) -> bool:
    """Whether the request has something where one of the required tokens is looked for."""
    for name in _providers(requirement):
        provider = config.providers[name]
        places = (provider.from_headers, provider.from_params, provider.from_cookies)
        names = [entry.name.lower() for entry in provider.from_headers]
        if any(flow.request.values(item) for item in (names if any(places) else ["authorization"])):
            return True
        if any(f"{item}=" in flow.request.path for item in provider.from_params):
            return True
        if any(f"{item}=" in (flow.request.header("cookie") or "") for item in provider.from_cookies):
            return True
    return False
