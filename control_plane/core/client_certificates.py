"""`x-forwarded-client-cert`: who calls, as the mutual TLS of the connection proves it.

An app's sidecar replaces what the caller sent, with one exception: a gateway says whose client certificate
it has verified, and its own identity follows (`CLIENT,GATEWAY`). Other callers could claim any client.
"""

from __future__ import annotations

from meshwright.control_plane.core import http_connection_manager as http
from meshwright.control_plane.envoy import codec, v3

_GATEWAYS = r"spiffe://[^/]+/gateway/.+"
"""The SPIFFE IDs of gateways; the handshake admits those of the mesh's own trust domain alone."""


def say_who_calls(manager: http.HCM) -> None:
    """Set the header on an app's sidecar."""
    manager.forward_client_cert_details = http.HCM.SANITIZE_SET
    manager.set_current_client_cert_details.uri = True
    config = http.HCM.ForwardClientCertConfig(forward_client_cert_details=http.HCM.APPEND_FORWARD)
    config.set_current_client_cert_details.uri = True
    entry = manager.forward_client_cert_matcher.matcher_list.matchers.add()
    single = entry.predicate.single_predicate
    single.input.name = "envoy.matching.inputs.uri_san"
    single.input.typed_config.CopyFrom(codec.pack(v3.UriSanInput()))
    single.value_match.safe_regex.regex = _GATEWAYS
    single.value_match.safe_regex.google_re2.SetInParent()
    entry.on_match.action.name = "gateway"
    entry.on_match.action.typed_config.CopyFrom(codec.pack(config))


def forward_client(manager: http.HCM) -> None:
    """Say at a gateway who the client is, by the certificate that was verified."""
    manager.forward_client_cert_details = http.HCM.SANITIZE_SET
    details = manager.set_current_client_cert_details
    details.subject.value = True
    details.uri = details.dns = True
