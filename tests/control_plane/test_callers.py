"""Enrolments in serial numbers, and the callers that an eviction refuses."""

from __future__ import annotations

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.callers import (
    ENROLMENT_BITS,
    UNIQUE_BITS,
    Caller,
    CallerCheck,
    Eviction,
    Evictions,
    enrolment_of,
    new_enrolment,
    new_serial,
)
from meshwright.control_plane.errors import PermissionDeniedError
from tests.fakes.pki import DOMAIN, Pki

ORDERS = Identity(DOMAIN, "service", "orders")


@given(st.integers(0, 2**ENROLMENT_BITS - 1), st.integers(0, 2**UNIQUE_BITS - 1))
def test_serial_names_its_enrolment_and_fits_the_certificate(enrolment_bits: int, unique: int) -> None:
    enrolment = new_enrolment(enrolment_bits)
    serial = new_serial(enrolment, unique)
    assert enrolment_of(serial) == enrolment
    assert len(enrolment) == 16
    assert 0 < serial.bit_length() < 160


@given(st.integers(1, 2**159 - 1))
def test_every_serial_has_an_enrolment_that_a_renewal_keeps(serial: int) -> None:
    """Also the serials of certificates that were issued before there were enrolments."""
    enrolment = enrolment_of(serial)
    assert enrolment_of(new_serial(enrolment, 7)) == enrolment


def test_an_eviction_refuses_one_enrolment_of_an_identity_until_it_is_lifted() -> None:
    evictions = Evictions()
    eviction = Eviction("00aa", ORDERS.uri, "orders-1", "ana", "", 1.0, 2.0)
    assert evictions.replace([eviction]) == (eviction,)
    assert evictions.replace([eviction]) == ()
    evictions.check(Caller(ORDERS, "00ab"))
    with pytest.raises(PermissionDeniedError, match="orders-1 was evicted by ana: restart it"):
        evictions.check(Caller(ORDERS, "00aa"))
    evictions.replace([])
    evictions.check(Caller(ORDERS, "00aa"))


def test_an_eviction_is_the_latest_of_its_identity_until_another_enrolment_calls() -> None:
    evictions = Evictions()
    first = Eviction("00aa", ORDERS.uri, "orders-1", "ana", "it lies", 1796000000.0, 2e9)
    evictions.replace([first])
    assert first.failure == "evicted by ana at 2026-11-30 00:53 UTC: it lies"
    with pytest.raises(PermissionDeniedError):
        evictions.check(Caller(ORDERS, "00aa"))
    evictions.check(Caller(Identity(DOMAIN, "gateway", "orders"), "00ab"))
    assert evictions.latest(ORDERS) is first
    evictions.check(Caller(ORDERS, "00ab"))
    assert evictions.latest(ORDERS) is None
    second = Eviction("00ab", ORDERS.uri, "orders-1", "", "", 1796000060.0, 2e9)
    evictions.replace([first, second])
    assert second.failure == "evicted at 2026-11-30 00:54 UTC"
    assert evictions.latest(ORDERS) is second
    evictions.replace([first])
    assert evictions.latest(ORDERS) is None


def test_the_certificate_tells_the_enrolment() -> None:
    signed, _ = Pki().svid("orders")
    pem = signed.certificate.encode()
    serial = x509.load_pem_x509_certificate(pem).serial_number
    context = {"peer_spiffe_id": [ORDERS.uri.encode()], "x509_pem_cert": [pem]}
    evictions = Evictions()
    check = CallerCheck(DOMAIN, evictions)
    assert check.identify(context) == Caller(ORDERS, enrolment_of(serial))
    assert check.identify({**context, "x509_pem_cert": [b"no certificate"]}) == Caller(ORDERS)
    evictions.replace([Eviction(enrolment_of(serial), ORDERS.uri, "orders-1", "", "why", 1.0, 2.0)])
    with pytest.raises(PermissionDeniedError, match="orders-1 was evicted: why: restart it"):
        check.identify(context)
