"""HeaderPolicy as Envoy's header mutation filter: always in the chain, configured per route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import trusted_headers
from meshwright.control_plane.policies.headerpolicy.spec import (
    Header,
    HeaderChanges,
    HeaderPolicySpec,
    Variable,
)
from meshwright.control_plane.policies.hooks import FilterEntry, FilterPhase, Hooks, ListenerDirection
from meshwright.control_plane.policies.httproute.envoy_filters import header_options, literal
from meshwright.control_plane.policies.httproute.filters import HTTPHeader

NAME = "envoy.filters.http.header_mutation"


class HeaderPolicyHooks(Hooks[HeaderPolicySpec]):
    """The header mutation filter on outbound and ingress listeners; without a policy it does nothing."""

    @classmethod
    def http_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """The caller's side only, where `from` and routes are known."""
        return () if direction == "inbound" else ((FilterPhase.HEADERS, NAME, v3.HeaderMutation()),)

    @classmethod
    def needs(cls, spec: HeaderPolicySpec, hook: str) -> bool:
        """The called service's own sidecars only state the caller's identity."""
        return hook != "patch_inbound_route" or bool(spec.principal_headers)

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Configure the filter for this route."""
        mutations = v3.Mutations(
            request_mutations=_mutations(self.spec.request), response_mutations=_mutations(self.spec.response)
        )
        config = v3.HeaderMutationPerRoute(mutations=mutations)
        route.typed_per_filter_config[NAME].CopyFrom(codec.pack(config))
        return [route]

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """State the caller's identity, in place of what a caller may send under that name."""
        if route.HasField("route"):
            for name in self.spec.principal_headers:
                route.request_headers_to_remove.extend(trusted_headers.spellings(name))
                route.request_headers_to_add.add().header.MergeFrom(
                    v3.HeaderValue(key=name, value="%DOWNSTREAM_PEER_URI_SAN%")
                )
        return [route]


_VARIABLES: Mapping[Variable, str] = {
    "source.address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "source.principal": "",  # see patch_inbound_route
    "request.id": "%REQ(X-REQUEST-ID)%",
    "request.host": "%REQ(:AUTHORITY)%",
    "request.method": "%REQ(:METHOD)%",
    "request.path": "%REQ(:PATH)%",
    "request.scheme": "%REQ(:SCHEME)%",
    "request.protocol": "%PROTOCOL%",
}


def _template(header: HTTPHeader) -> str:
    variable = header.variable if isinstance(header, Header) else None
    return _VARIABLES[variable] if variable else literal(header.value)


def _mutations(changes: HeaderChanges | None) -> Iterator[v3.ConfigHeaderMutation]:
    if changes is None:
        return
    for name in changes.remove:
        yield v3.ConfigHeaderMutation(remove=name)
    for option in header_options(changes, _template):
        yield v3.ConfigHeaderMutation(append=option)
