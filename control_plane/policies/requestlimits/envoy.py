"""RequestLimits as routes: what is too large by its own account is refused, what does not say is buffered.

Envoy's buffer filter refuses a body only once it has taken in too much of it, and holds back those that are
small enough. So it sees only requests that do not declare their length; a declared one is checked by the
route, and Envoy itself sees to it that the body is not longer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import ClassVar

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import filter_chain
from meshwright.control_plane.policies.byte_size import render
from meshwright.control_plane.policies.hooks import FilterEntry, FilterPhase, Hooks, ListenerDirection
from meshwright.control_plane.policies.reply_reason import Reason
from meshwright.control_plane.policies.requestlimits.spec import RequestLimitsSpec

PLACE = "meshwright.body"

BODY_LIMIT_KEY = "body_limits"
"""The metadata of a route, below METADATA_KEY, that lists policies which bound a body."""

TOO_LARGE = "body-too-large"
"""The route that refuses a declared length."""

PAYLOAD_TOO_LARGE = "request_payload_too_large"
"""The details of a response to a body that exceeded a filter's buffer."""

STATUS = 413

_MOST = 2**63 - 1

_CAUSE = "the body of the request is larger than the limit"


class RequestLimitsHooks(Hooks[RequestLimitsSpec]):
    """Limits at gateways, and at the sidecars of services that a policy targets."""

    reply_reasons: ClassVar[tuple[Reason, ...]] = (
        Reason(
            (PAYLOAD_TOO_LARGE,),
            body=f"mesh: the body is larger than %METADATA(ROUTE:{METADATA_KEY}:{BODY_LIMIT_KEY})% allows"
            " (%RESPONSE_CODE_DETAILS%)",
            causes=(("", _CAUSE),),
        ),
    )
    direct_responses: ClassVar[Mapping[str, str]] = MappingProxyType({TOO_LARGE: _CAUSE})

    @classmethod
    def route_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """Where requests arrive: at gateways, and at the sidecars of their destination."""
        return () if direction == "outbound" else (filter_chain.place(FilterPhase.BODY, PLACE),)

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Limit requests of this route."""
        return self._limited(route)

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Limit requests of every caller of the service."""
        return self._limited(route)

    def _limited(self, route: v3.Route) -> list[v3.Route]:
        if not route.HasField("route"):
            return [route]
        return [self._refusal(route), self._buffered(route), route]

    def _refusal(self, route: v3.Route) -> v3.Route:
        refusal = v3.Route()
        refusal.CopyFrom(route)
        refusal.name = TOO_LARGE
        declared = v3.HeaderMatcher(name="content-length")
        declared.range_match.start = self.spec.max_body + 1
        declared.range_match.end = _MOST
        refusal.match.headers.append(declared)
        refusal.direct_response.status = STATUS
        limit = render(self.spec.max_body)
        text = f"mesh: the body is larger than the {limit} that {self.ref} allows\n"
        refusal.direct_response.body.inline_string = text
        return refusal

    def _buffered(self, route: v3.Route) -> v3.Route:
        copy = v3.Route()
        copy.CopyFrom(route)
        copy.match.headers.append(v3.HeaderMatcher(name="content-length", present_match=False))
        copy.match.headers.append(v3.HeaderMatcher(name="upgrade", present_match=False))
        grpc = v3.StringMatcher(prefix="application/grpc")
        copy.match.headers.append(
            v3.HeaderMatcher(
                name="content-type", string_match=grpc, invert_match=True, treat_missing_header_as_empty=True
            )
        )
        buffer = v3.Buffer(max_request_bytes=v3.UInt32Value(value=self.spec.buffered))
        filter_chain.add(copy, PLACE, self.ref, buffer)
        fields = copy.metadata.filter_metadata[METADATA_KEY].fields
        fields[BODY_LIMIT_KEY].list_value.values.add(string_value=self.ref)
        return copy
