"""`x-forwarded-client-cert`: who calls, as the mutual TLS of the connection proves it.

An app's sidecar replaces what the caller sent, with one exception: a gateway says whose client certificate
it has verified, and its own identity follows (`CLIENT,GATEWAY`). Other callers could claim any client.
"""

from __future__ import annotations

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.envoy import codec, v3


def say_who_calls(manager: http.HCM, trust_domain: str) -> None:
    """Set the header on an app's sidecar."""
    gateways = Identity(trust_domain, "gateway").uri
    manager.forward_client_cert_details = http.HCM.SANITIZE_SET
    manager.set_current_client_cert_details.uri = True
    config = http.HCM.ForwardClientCertConfig(forward_client_cert_details=http.HCM.APPEND_FORWARD)
    config.set_current_client_cert_details.uri = True
    entry = manager.forward_client_cert_matcher.matcher_list.matchers.add()
    single = entry.predicate.single_predicate
    single.input.name = "envoy.matching.inputs.uri_san"
    single.input.typed_config.CopyFrom(codec.pack(v3.UriSanInput()))
    # Matched with each request: a regular expression instead of a prefix costs 2 % of the CPU of a request.
    single.value_match.prefix = gateways
    entry.on_match.action.name = "gateway"
    entry.on_match.action.typed_config.CopyFrom(codec.pack(config))


def forward_client(manager: http.HCM) -> None:
    """Say at a gateway who the client is, by the certificate that was verified."""
    manager.forward_client_cert_details = http.HCM.SANITIZE_SET
    details = manager.set_current_client_cert_details
    details.subject.value = True
    details.uri = details.dns = True
