"""What Envoy sends or looks up for a limit: a descriptor of the policy, the limit and the request's keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies.jwtauthentication.envoy import NAME as JWT_FILTER
from meshwright.control_plane.policies.ratelimit.spec import Limit, LimitKey

POLICY_KEY = "limit"
"""The key of a descriptor's first entry; its value is `limit_id`."""

ABSENT = "-"
"""The value of a key that a request does not have: such requests share a limit."""

MAX_VALUE = 256
"""Characters of a key that count. Longer values are the same if they begin the same: keys stay small."""

_EVERY_ADDRESS = (v3.AddressRange(address_prefix="0.0.0.0"), v3.AddressRange(address_prefix="::"))


def limit_id(policy: str, index: int) -> str:
    """The name of a limit: the policy's and its place in the list."""
    return f"{policy}/{index}"


def key_names(limit: Limit, tokens: Sequence[str]) -> Iterator[str]:
    """The keys of the entries after the first one; a claim has one for each token."""
    for key in limit.by:
        if key.type == "ClientAddress":
            yield "masked_remote_address"
        else:
            yield from (_descriptor_key(key) for _ in (tokens if key.type == "Claim" else (None,)))


def key_actions(limit: Limit, tokens: Sequence[str]) -> Iterator[v3.RateLimitActions.Action]:
    """How Envoy finds the values of a request.

    `tokens`: the keys of the JWT filter's metadata under which the claims of verified tokens are.
    """
    for key in limit.by:
        if key.type == "Claim":
            yield from (_claim_action(key, token) for token in tokens)
        elif key.type == "ClientAddress":
            masked = v3.RateLimitActions.Action.MaskedRemoteAddress(
                v4_prefix_mask_len=v3.UInt32Value(value=32), v6_prefix_mask_len=v3.UInt32Value(value=64)
            )
            yield v3.RateLimitActions.Action(masked_remote_address=masked)
        else:
            # The one action that takes a format and a default. Every address matches.
            yield v3.RateLimitActions.Action(
                remote_address_match=v3.RateLimitActions.Action.RemoteAddressMatch(
                    descriptor_key=_descriptor_key(key),
                    descriptor_value=_format(key),
                    default_value=ABSENT,
                    address_matcher=v3.AddressMatcher(ranges=_EVERY_ADDRESS),
                )
            )


def _claim_action(key: LimitKey, token: str) -> v3.RateLimitActions.Action:
    action = v3.RateLimitActions.Action()
    metadata = action.metadata
    metadata.descriptor_key, metadata.default_value = _descriptor_key(key), ABSENT
    metadata.metadata_key.key = JWT_FILTER
    for name in (token, *key.name.split(".")):
        metadata.metadata_key.path.add(key=name)
    return action


def _descriptor_key(key: LimitKey) -> str:
    return f"{key.type}:{key.name.lower() if key.type == 'Header' else key.name}" if key.name else key.type


def _format(key: LimitKey) -> str:
    match key.type:
        case "Header":
            return f"%REQ({key.name}):{MAX_VALUE}%"
        case "Caller":
            return "%DOWNSTREAM_PEER_URI_SAN%"
    return f"%PATH(NQ):{MAX_VALUE}%"
