"""What `mesh why` says of responses that a proxy made itself, in place of the app."""

from __future__ import annotations

from typing import Any

import pytest

from meshwright.control_plane.core.reply_reasons import FORWARDED, REASONS, reason
from tests.control_plane.telemetry.log_exports import inbound_request, outbound_request, record
from tests.control_plane.telemetry.requests.test_explain import explain

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
