"""HeaderPolicy as Envoy's header mutation filter: always in the chain, configured per route."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies.headerpolicy.spec import HeaderChanges, HeaderPolicySpec
from meshwright.control_plane.policies.hooks import FilterEntry, FilterPhase, Hooks, ListenerDirection
from meshwright.control_plane.policies.httproute.envoy_filters import header_options

NAME = "envoy.filters.http.header_mutation"


class HeaderPolicyHooks(Hooks[HeaderPolicySpec]):
    """The header mutation filter on outbound and ingress listeners; without a policy it does nothing."""

    @classmethod
    def http_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """The caller's side only, where `from` and routes are known."""
        return () if direction == "inbound" else ((FilterPhase.HEADERS, NAME, v3.HeaderMutation()),)

    def patch_route(self, route: v3.Route) -> list[v3.Route]:
        """Configure the filter for this route."""
        mutations = v3.Mutations(
            request_mutations=_mutations(self.spec.request), response_mutations=_mutations(self.spec.response)
        )
        config = v3.HeaderMutationPerRoute(mutations=mutations)
        route.typed_per_filter_config[NAME].CopyFrom(codec.pack(config))
        return [route]


def _mutations(changes: HeaderChanges | None) -> Iterator[v3.ConfigHeaderMutation]:
    if changes is None:
        return
    for name in changes.remove:
        yield v3.ConfigHeaderMutation(remove=name)
    for option in header_options(changes):
        yield v3.ConfigHeaderMutation(append=option)
