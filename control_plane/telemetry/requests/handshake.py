"""Refused handshakes of mutual TLS: the reason and the peer, by a record of `core.access_log`. Pure.

Nothing that the peer says is proven: a certificate that was refused names an identity that it only claims.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshwright.control_plane.core.access_log import HANDSHAKE_REFUSED

REASONS = {
    "plaintext": "it sent plain text, and the service requires mutual TLS",
    "expired": "its certificate has expired",
    "not-yet-valid": "its certificate is not valid yet",
    "untrusted": "its certificate is not of this mesh",
    "no-certificate": "it has no certificate",
    "protocol": "it does not speak TLS 1.3",
    "unknown-port": "it asked for a port that the service does not have",
    "distrust": "it does not trust the certificate of this sidecar",
    "tls": "its TLS handshake failed",
}
"""A sentence for each reason; the reasons are values of the metric's label."""

_CAUSES = (
    ("certificate_has_expired", "expired"),
    ("not_yet_valid", "not-yet-valid"),
    ("CERTIFICATE_VERIFY_FAILED", "untrusted"),
    ("PEER_DID_NOT_RETURN_A_CERTIFICATE", "no-certificate"),
    ("UNSUPPORTED_PROTOCOL", "protocol"),
    ("_ALERT_", "distrust"),
    ("HTTP_REQUEST", "plaintext"),
    ("WRONG_VERSION_NUMBER", "plaintext"),
)
# Parts of BoringSSL's error text as Envoy 1.40 writes it, the most specific first.


def described(attributes: Mapping[str, str]) -> dict[str, str]:
    """The attributes of a record of a refused handshake, with the reason in `details` and in words.

    `peer` is left out, since nobody proved it. Other records are returned as they are.
    """
    if attributes.get("details") != HANDSHAKE_REFUSED:
        return dict(attributes)
    reason = _reason(attributes.get("failure", ""), attributes.get("server_name", ""))
    claim = f" with the certificate of {peer}" if (peer := attributes.get("peer")) else ""
    sentence = f"from {attributes.get('address') or 'unknown'}{claim}: {REASONS[reason]}"
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


def _reason(failure: str, server_name: str) -> str:
    if not failure:
        return "unknown-port" if server_name else "plaintext"
    return next((reason for part, reason in _CAUSES if part in failure), "tls")
