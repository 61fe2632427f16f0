"""What `mesh why` says of responses that a proxy made itself, in place of the app."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.core.access_log import HANDSHAKE_REFUSED
from meshwright.control_plane.core.reply_reasons import FORWARDED, REASONS, reason
from meshwright.control_plane.telemetry.requests.attribution import PolicyAttribution, is_named
from meshwright.control_plane.telemetry.requests.handshake import GATEWAY_REASONS
from meshwright.control_plane.telemetry.requests.handshake import REASONS as HANDSHAKES
from meshwright.control_plane.telemetry.requests.record import RequestRecord
from meshwright.control_plane.telemetry.requests.refusals import (
    Refusal,
    RefusalCounter,
    attribute,
    refused_by,
)
from tests.control_plane.telemetry.log_exports import inbound_request, outbound_request, record
from tests.control_plane.telemetry.requests.test_explain import explain, policy

REFUSED: dict[str, Any] = {
    "status": 400,
    "flags": "-",
    "details": "http1.unexpected_underscore",
    "upstream": "-",
    "upstream_host": "-",
    "policies": "-",
}


def test_refusal_of_a_proxy_is_explained_with_the_reason_in_its_response() -> None:
    explanation = explain([outbound_request("ingress", direction="ingress", **REFUSED)])
    assert explanation.verdict == "refused"
    assert explanation.summary.startswith("400 at ingress: the gateway responded with 400")
    assert "a header's name contains an underscore" in explanation.summary


def test_client_error_of_the_app_is_no_refusal() -> None:
    attributes = {**REFUSED, "details": FORWARDED, "upstream": "orders"}
    assert explain([outbound_request(**attributes)]).verdict == "fine"


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ("external-denied", "outbound: deny"),
        ("no-such-port", "no HTTP port of this number"),
        ("https-refused", "cannot route HTTPS"),
    ],
)
def test_direct_response_is_explained_by_the_name_of_its_route(route: str, expected: str) -> None:
    attributes = {**REFUSED, "status": 403, "details": "direct_response", "route": route}
    explanation = explain([outbound_request(**attributes)])
    assert explanation.verdict == "refused"
    assert expected in explanation.summary


def test_limit_on_response_headers_is_not_blamed_on_the_app_alone() -> None:
    details = "upstream_reset_before_response_started{protocol_error}"
    request = inbound_request("orders", "storefront", status=502, flags="UPE", details=details)
    assert "or its headers exceed the mesh's limit (1000 headers" in explain([request]).summary


def test_request_without_an_id_of_its_own_is_found_by_that_of_its_response() -> None:
    attributes = {"request_id": "-", "fallback_id": "1796139034.928031000-4", "status": "400"}
    assert record("ingress", 0.0, direction="ingress", **attributes).id == "1796139034.928031000-4"


def test_every_reason_is_found_by_its_details() -> None:
    for entry in REASONS:
        for details in entry.details:
            assert reason(f"{details}{{more}}"), details
    assert reason(FORWARDED) == ""


# --- what policies refuse -----------------------------------------------------------------------------

TOKENS = policy(
    "JWTAuthentication",
    "users",
    targetRefs=[{"kind": "Service", "name": "orders"}],
    issuers=[{"issuer": "https://users.test", "jwks": {"url": "http://users/keys"}}],
)
DENIED: dict[str, Any] = {
    "direction": "inbound",
    "status": "401",
    "details": "jwt_authn_access_denied{Jwt_is_missing}",
}
PEER: dict[str, Any] = {"peer": "spiffe://mesh.local/service/storefront", "upstream": "-", "policies": "-"}


def counted(*records: RequestRecord) -> tuple[Refusal, ...]:
    counter = RefusalCounter(max_keys=2)
    for item in records:
        counter.add(item)
    return attribute(counter.take(), PolicyAttribution((TOKENS,)))


def test_refusals_are_counted_by_policy_and_caller() -> None:
    refused = record("orders", **DENIED, **PEER, request_id="one")
    newest = record("orders", **DENIED, **PEER, request_id="two")
    (refusal,) = counted(record("orders"), refused, newest)
    assert (refusal.service, refusal.caller, refusal.count) == ("orders", "storefront", 2)
    assert refusal.policies == ("JWTAuthentication/users",)
    assert "the request has no token" in refusal.message


@pytest.mark.parametrize(
    ("details", "expected"), [(DENIED["details"], TOKENS.ref), (FORWARDED, ""), ("", "")]
)
def test_a_tapped_request_names_what_refused_it(details: str, expected: str) -> None:
    request = record("orders", **{**DENIED, **PEER, "details": details}).to_api()
    assert refused_by(request, PolicyAttribution((TOKENS,))) == ((expected,) if expected else ())


@pytest.mark.parametrize(
    ("details", "named"),
    [
        ("rbac_access_denied_matched_policy[Authorization/shop_rule_1]", True),
        ("rbac_access_denied_matched_policy[Authorization/shop]", True),
        ("rbac_access_denied_matched_policy[Authorization/shop-admin_rule_1]", False),
        ("rbac_access_denied_matched_policy[none]", False),
    ],
)
def test_a_policy_that_the_details_name_is_recognised(details: str, named: bool) -> None:
    assert is_named("Authorization/shop", details) is named


def test_failures_and_responses_of_apps_are_no_refusals() -> None:
    records = [
        record(status="401"),
        record(status="503", flags="UO", details="overflow"),
        record(status="404", flags="NR", details="route_not_found", upstream="-"),
        record(status="429", details=FORWARDED),
    ]
    assert counted(*records) == ()


def test_sorts_of_refusals_beyond_the_limit_are_left_out() -> None:
    records = [record("orders", **{**DENIED, **PEER, "route": str(number)}) for number in range(5)]
    assert len(counted(*records)) == 2


@pytest.mark.parametrize(
    ("failure", "server_name", "reason"),
    [
        ("TLS_error:|268435581:SSL_routines:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:"
         "_certificate_verification_error_at_depth_0:_certificate_has_expired", "-", "expired"),
        ("TLS_error:|268435581:SSL_routines:CERTIFICATE_VERIFY_FAILED:verify_cert_failed:"
         "_X509_verify_cert:_..._unable_to_get_local_issuer_certificate:TLS_error_end", "", "untrusted"),
        ("TLS_error:|268435648:SSL_routines:OPENSSL_internal:PEER_DID_NOT_RETURN_A_CERTIFICATE:peer_did_not",
         "", "no-certificate"),
        ("TLS_error:|268435696:UNSUPPORTED_PROTOCOL:TLS_error_end", "", "protocol"),
        ("TLS_error|error:1000009c:HTTP_REQUEST:TLS_error_end", "", "plaintext"),
        ("-", "-", "plaintext"),
        ("-", "grpc.orders.mesh", "unknown-port"),
        ("something new", "-", "tls"),
    ],
)  # fmt: skip
def test_a_refused_handshake_has_a_reason_and_an_unproven_peer(
    failure: str, server_name: str, reason: str
) -> None:
    attributes: dict[str, Any] = {
        "direction": "inbound", "method": "TCP", "details": HANDSHAKE_REFUSED, "failure": failure,
        "peer": "spiffe://other.test/service/orders", "address": "10.0.0.7", "server_name": server_name,
    }  # fmt: skip
    (refusal,) = counted(record("orders", **attributes))
    assert (refusal.reason, refusal.caller, refusal.policies) == (reason, "", ())
    claim = "with the certificate of spiffe://other.test/service/orders"
    words = " (something new)" if reason == "tls" else ""
    assert refusal.message == f"from 10.0.0.7 {claim}: {HANDSHAKES[reason]}{words}"


@pytest.mark.parametrize(
    ("failure", "server_name", "reason"),
    [
        ("TLS_error:|268435581:SSL_routines:CERTIFICATE_VERIFY_FAILED:verify_cert_failed", "-", "untrusted"),
        (
            "TLS_error:|268436504:SSL_routines:OPENSSL_internal:TLSV1_ALERT_UNKNOWN_CA",
            "shop.test",
            "distrust",
        ),
        ("TLS_error:|268435568:SSL_routines:OPENSSL_internal:BAD_PACKET_LENGTH", "shop.test", "distrust"),
        ("TLS_error:|268435640:SSL_routines:OPENSSL_internal:NO_SHARED_CIPHER", "-", "no-cipher"),
        ("TLS_error:_Secret_is_not_supplied_by_SDS", "-", "not-ready"),
        ("-", "-", "plaintext"),
        ("-", "other.test", "unknown-host"),
    ],
)
def test_a_handshake_that_a_gateway_refused_is_one_of_its_clients(
    failure: str, server_name: str, reason: str
) -> None:
    attributes: dict[str, Any] = {
        "direction": "ingress", "method": "TCP", "details": HANDSHAKE_REFUSED, "failure": failure,
        "address": "10.0.0.7", "server_name": server_name,
    }  # fmt: skip
    (refusal,) = counted(record("ingress", **attributes))
    assert (refusal.reason, refusal.caller, refusal.service) == (reason, "outside", "ingress")
    assert refusal.message == f"from 10.0.0.7: {GATEWAY_REASONS[reason]}"


def test_a_caller_that_a_gateway_does_not_let_out_is_named() -> None:
    (refusal,) = counted(
        record(
            "ingress",
            method="TCP",
            details=HANDSHAKE_REFUSED,
            failure="-",
            address="10.0.0.7",
            peer="spiffe://mesh.local/service/cart",
            termination="rbac_access_denied_matched_policy[ExternalService/cards]",
        )
    )
    assert refusal.reason == "not-declared"
    assert refusal.message.startswith(
        "from 10.0.0.7 with the certificate of spiffe://mesh.local/service/cart: it is"
    )


def test_a_refused_grpc_call_is_a_refusal_though_its_http_status_is_200() -> None:
    attributes = {
        **DENIED,
        "status": 200,
        "grpc_status": "Unauthenticated",
        "content_type": "application/grpc",
    }
    assert explain([inbound_request("orders", "storefront", **attributes)]).verdict == "refused"
