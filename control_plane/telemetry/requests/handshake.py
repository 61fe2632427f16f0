"""Refused TLS handshakes: the reason and the peer, by a record of `core.access_log`. Pure.

Nothing that the peer says is proven: a certificate that was refused names an identity that it only claims.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.control_plane.core.access_log import HANDSHAKE_REFUSED, TERMINATION

OTHER = "tls"
"""Anything else: Envoy's own words say what."""

REASONS = {
    "plaintext": "it sent plain text, and the service requires mutual TLS",
    "expired": "its certificate has expired",
    "not-yet-valid": "its certificate is not valid yet",
    "untrusted": "its certificate is not of this mesh",
    "no-certificate": "it has no certificate",
    "protocol": "it does not speak TLS 1.3",
    "unknown-port": "it asked for a port that the service does not have",
    "distrust": "it does not trust the certificate of this sidecar",
    "unknown-host": "it asked for a host that no listener is for",
    "no-cipher": "it offered no cipher that is accepted",
    "not-ready": "there is no certificate for it yet",
    "not-declared": "it is none of the callers that the ExternalService names (from)",
    OTHER: "its TLS handshake failed",
}
"""A sentence for each reason; the reasons are values of the metric's label."""

GATEWAY_REASONS = REASONS | {
    "plaintext": "it sent plain text, or named no host (SNI) that a listener is for",
    "untrusted": "its certificate is not of a CA that the listener trusts",
    "protocol": "it does not speak a version of TLS that the listener accepts",
    "distrust": "it does not trust the certificate of this gateway",
}
"""The same for clients of a gateway, which need no mutual TLS."""

_CAUSES = (
    ("certificate_has_expired", "expired"),
    ("not_yet_valid", "not-yet-valid"),
    ("CERTIFICATE_VERIFY_FAILED", "untrusted"),
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "no-certificate"),
    ("UNSUPPORTED_PROTOCOL", "protocol"),
    ("NO_SHARED_CIPHER", "no-cipher"),
    ("Secret_is_not_supplied", "not-ready"),
    ("_ALERT_", "distrust"),
    ("BAD_PACKET_LENGTH", "distrust"),
    ("HTTP_REQUEST", "plaintext"),
    ("WRONG_VERSION_NUMBER", "plaintext"),
)
# Parts of BoringSSL's error text as Envoy 1.40 writes it, the most specific first. BAD_PACKET_LENGTH: clients
# with OpenSSL 3.0 refuse a certificate by an alert that is not encrypted, and so too short for TLS 1.3.


def described(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a record of a refused handshake, with the reason in `details` and in words.

    `peer` is left out, since nobody proved it. Other records are returned as they are.
    """
    if attributes.get("details") != HANDSHAKE_REFUSED:
        return dict(attributes)
    at_gateway = attributes.get("direction") == "ingress"
    reasons = GATEWAY_REASONS if at_gateway else REASONS
    if attributes.get(TERMINATION):
        reason = "not-declared"
    else:
        server_name = attributes.get("server_name", "")
        reason = _reason(attributes.get("failure", ""), server_name, at_gateway=at_gateway)
    claim = f" with the certificate of {peer}" if (peer := attributes.get("peer")) else ""
    sentence = f"from {attributes.get('address') or 'unknown'}{claim}: {reasons[reason]}"
    if reason == OTHER:
        sentence += f" ({attributes.get('failure', '')})"
    return {
        **attributes,
        "details": f"{HANDSHAKE_REFUSED}{{{reason}}}",
        "failure": sentence,
        "peer": "",
    }


def refusal_reason(details: str) -> str:
    """The reason in the details of a refused handshake; empty for other records."""
    prefix = f"{HANDSHAKE_REFUSED}{{"
    return details[len(prefix) : -1] if details.startswith(prefix) else ""


def _reason(failure: str, server_name: str, *, at_gateway: bool) -> str:
    if not failure and server_name:
        return "unknown-host" if at_gateway else "unknown-port"
    if not failure:
        return "plaintext"
    return next((reason for part, reason in _CAUSES if part in failure), OTHER)
