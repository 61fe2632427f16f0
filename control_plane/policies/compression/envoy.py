"""Compression as Envoy's compressor filters, one for each algorithm, which a gateway's route brings along."""

from __future__ import annotations

from collections.abc import Sequence

from meshwright.control_plane.envoy import codec, v3
from meshwright.control_plane.policies import filter_chain
from meshwright.control_plane.policies.compression.spec import Algorithm, CompressionSpec
from meshwright.control_plane.policies.hooks import FilterEntry, FilterPhase, Hooks, ListenerDirection

PLACE = "meshwright.compression"

_LIBRARIES = {"br": v3.Brotli, "zstd": v3.Zstd, "gzip": v3.Gzip}

PARTIAL_CONTENT = 206
"""Ranges are ranges of the bytes that the application sent (RFC 9110, section 14.1.2)."""


class CompressionHooks(Hooks[CompressionSpec]):
    """The filters at gateways."""

    @classmethod
    def route_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """At gateways."""
        return (filter_chain.place(FilterPhase.COMPRESSION, PLACE),) if direction == "ingress" else ()

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Compress responses of this route."""
        for algorithm in self.spec.algorithms:
            name = f"{self.ref}/{algorithm}"
            filter_chain.add(route, PLACE, name, self._compressor(algorithm))
        return [route]

    def _compressor(self, algorithm: Algorithm) -> v3.Compressor:
        message = v3.Compressor(choose_first=algorithm == self.spec.algorithms[0])
        message.compressor_library.name = algorithm
        message.compressor_library.typed_config.CopyFrom(codec.pack(_LIBRARIES[algorithm]()))
        responses = message.response_direction_config
        responses.common_config.min_content_length.value = self.spec.min_size
        responses.common_config.content_type.extend(self.spec.content_types)
        responses.weaken_etag_on_compress = True
        responses.uncompressible_response_codes.append(PARTIAL_CONTENT)
        return message
