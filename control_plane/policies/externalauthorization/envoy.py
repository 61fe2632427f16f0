"""ExternalAuthorization as Envoy's ext_authz filter, which each protected route brings along.

What a client sends under the names of the authorizer's headers is removed first: a filter of its own does so
just before the authorizer is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from meshwright.control_plane.api.resource_metadata import METADATA_KEY
from meshwright.control_plane.envoy import v3
from meshwright.control_plane.policies import exempt_matches, filter_chain, outside_cluster
from meshwright.control_plane.policies.externalauthorization.spec import (
    ExternalAuthorizationSpec,
    HTTPAuthorizer,
)
from meshwright.control_plane.policies.hooks import (
    NO_CLUSTER,
    FilterEntry,
    FilterPhase,
    Hooks,
    ListenerDirection,
    Symptom,
)
from meshwright.control_plane.policies.reply_reason import Reason
from meshwright.control_plane.policies.requestlimits.envoy import BODY_LIMIT_KEY

PLACE = "meshwright.external_authorization"

AUTHORIZERS_KEY = "authorizers"
"""The metadata of a route, below METADATA_KEY, that lists the policies in force on it."""

DENIED, FAILED = "ext_authz_denied", "ext_authz_error"
"""The details of responses that the filter makes."""

FAILURE_STATUS = 503

_POLICIES = f"%METADATA(ROUTE:{METADATA_KEY}:{AUTHORIZERS_KEY})%"


class ExternalAuthorizationHooks(Hooks[ExternalAuthorizationSpec]):
    """The filter at gateways, and at the sidecars of services that a policy targets."""

    explains: ClassVar[tuple[Symptom, ...]] = (
        Symptom("UAEX", fields=("onFailure", "timeout", "http", "grpc"), details=FAILED),
        Symptom("UAEX", fields=("http", "grpc")),
    )
    reply_reasons: ClassVar[tuple[Reason, ...]] = (
        Reason(
            (FAILED,),
            body=f"mesh: no answer from the authorizer: refused by {_POLICIES} (%RESPONSE_CODE_DETAILS%)",
            causes=(("", "the authorizer did not answer in time, or with an error"),),
        ),
        Reason((DENIED,), body="", causes=(("", "the authorizer refused the request"),)),
    )

    @classmethod
    def route_filters(cls, direction: ListenerDirection) -> Sequence[FilterEntry]:
        """Where requests arrive: at gateways, and at the sidecars of their destination."""
        if direction == "outbound":
            return ()
        return (filter_chain.place(FilterPhase.EXTERNAL_AUTHORIZATION, PLACE),)

    def mesh_hosts(self) -> Sequence[str]:
        """The authorizer, if it is a service of the mesh."""
        url = self.spec.authorizer.parsed
        return (url.authority,) if url.mesh else ()

    def outside_clusters(self) -> Sequence[v3.Cluster]:
        """The authorizer, if it is not."""
        authorizer = self.spec.authorizer
        if authorizer.parsed.mesh:
            return ()
        return (outside_cluster.cluster(authorizer.parsed, authorizer.ca, http2=bool(self.spec.grpc)),)

    def dependencies(self) -> Sequence[str]:
        """The authorizer's cluster."""
        return () if self._cluster == NO_CLUSTER else (self._cluster,)

    def patch_gateway_route(self, route: v3.Route) -> list[v3.Route]:
        """Ask the authorizer about requests of this route."""
        return self._protected(route)

    def patch_inbound_route(self, route: v3.Route) -> list[v3.Route]:
        """Ask the authorizer about requests of every caller of the service."""
        return self._protected(route)

    @property
    def _cluster(self) -> str:
        authorizer = self.spec.authorizer
        url = authorizer.parsed
        if url.mesh:
            return self.clusters.get(url.authority, NO_CLUSTER)
        return outside_cluster.name(url, authorizer.ca, http2=bool(self.spec.grpc))

    def _protected(self, route: v3.Route) -> list[v3.Route]:
        if not route.HasField("route"):
            return [route]
        exempt = []
        for exception in self.spec.exceptions:
            copy = v3.Route()
            copy.CopyFrom(route)
            copy.match.headers.extend(exempt_matches.exempt(exception))
            self._remove_forged_headers(copy)
            exempt.append(copy)
        self._remove_forged_headers(route)
        filter_chain.add(route, PLACE, self.ref, self._filter())
        fields = route.metadata.filter_metadata[METADATA_KEY].fields
        fields[AUTHORIZERS_KEY].list_value.values.add(string_value=self.ref)
        if self.spec.body and not self.spec.body.allow_partial:
            fields[BODY_LIMIT_KEY].list_value.values.add(string_value=self.ref)
        return [*exempt, route]

    def _remove_forged_headers(self, route: v3.Route) -> None:
        """Also the spellings that CGI does not tell from the header's name."""
        names = (re.escape(name) for name in self.spec.headers_to_backend)
        regex = "|".join(name.replace(r"\-", "[-_]") for name in names)
        if regex:
            matcher = v3.StringMatcher(safe_regex=v3.RegexMatcher(regex=regex))
            removal = v3.ConfigHeaderMutation.RemoveOnMatch(key_matcher=matcher)
            mutations = v3.Mutations(request_mutations=[v3.ConfigHeaderMutation(remove_on_match=removal)])
            filter_chain.add(route, PLACE, f"{self.ref}/headers", v3.HeaderMutation(mutations=mutations))

    def _filter(self) -> v3.ExtAuthz:
        spec = self.spec
        message = v3.ExtAuthz(
            transport_api_version=v3.ApiVersion.V3,
            failure_mode_allow=spec.on_failure == "allow",
            # Else the destination would count what it has never seen.
            charge_cluster_response_stats=v3.BoolValue(value=False),
            validate_mutations=True,
        )
        message.status_on_error.code = FAILURE_STATUS
        if spec.body:
            message.with_request_body.max_request_bytes = spec.body.max_bytes
            message.with_request_body.allow_partial_message = spec.body.allow_partial
            message.with_request_body.pack_as_bytes = True
        if spec.headers_to_authorizer:
            message.allowed_headers.patterns.extend(_matchers(spec.headers_to_authorizer))
        if spec.http:
            self._ask_http(spec.http, message)
        else:
            self._ask_grpc(message)
        return message

    def _ask_http(self, authorizer: HTTPAuthorizer, message: v3.ExtAuthz) -> None:
        service, url = message.http_service, authorizer.parsed
        service.server_uri.uri = authorizer.url
        service.server_uri.cluster = self._cluster
        service.server_uri.timeout.FromTimedelta(self.spec.timeout)
        if authorizer.append_path:
            service.path_prefix = url.path.rstrip("/")
        else:
            service.path_override = url.path or "/"
        service.authorization_request.headers_to_add.add(key="x-forwarded-uri", value="%REQ(:PATH)%")
        answer = service.authorization_response
        if self.spec.headers_to_backend:
            answer.allowed_upstream_headers.patterns.extend(_matchers(self.spec.headers_to_backend))
        if self.spec.headers_to_client:
            refusal = ("content-type", *self.spec.headers_to_client)
            answer.allowed_client_headers.patterns.extend(_matchers(refusal))
            answer.allowed_client_headers_on_success.patterns.extend(_matchers(self.spec.headers_to_client))

    def _ask_grpc(self, message: v3.ExtAuthz) -> None:
        message.grpc_service.timeout.FromTimedelta(self.spec.timeout)
        message.grpc_service.envoy_grpc.cluster_name = self._cluster
        message.grpc_service.envoy_grpc.authority = self.spec.authorizer.parsed.authority
        rules = message.decoder_header_mutation_rules
        rules.disallow_all.value = True
        if self.spec.headers_to_backend:
            rules.allow_expression.regex = "|".join(map(re.escape, self.spec.headers_to_backend))


def _matchers(names: Iterable[str]) -> list[v3.StringMatcher]:
    return [v3.StringMatcher(exact=name, ignore_case=True) for name in names]
