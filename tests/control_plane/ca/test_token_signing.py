"""Join tokens: minting, verification, parsing without the key, and invalid tokens."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import OctKey

from meshwright.control_plane.api import join_token as contract
from meshwright.control_plane.api.spiffe import Identity
from meshwright.control_plane.ca import token_signing
from meshwright.control_plane.errors import InputError, PermissionDeniedError
from tests.control_plane.ca.keys import NOW, ORDERS

KEY = bytes(range(32))
HASH = "ab" * 32
TOKEN = token_signing.mint(KEY, ORDERS, HASH, NOW, ttl=600, jti="one")


def part(content: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).rstrip(b"=").decode()


def claims(**changed: Any) -> dict[str, Any]:
    defaults = {
        "iss": "mesh.local",
        "sub": "service/orders",
        "iat": NOW,
        "exp": NOW + 600,
        "jti": "one",
        "ca_sha256": HASH,
    }
    return {**defaults, **changed}


def signed(payload: dict[str, Any], algorithm: str = "HS256", key: bytes = KEY) -> str:
    return jwt.encode({"alg": algorithm}, payload, OctKey.import_key(key), algorithms=[algorithm])


@pytest.mark.parametrize("identity", [ORDERS, Identity("a.example", "gateway", "ingress")])
def test_token_is_valid_for_its_identity_until_it_expires(identity: Identity) -> None:
    token = token_signing.mint(KEY, identity, HASH, NOW, ttl=600, jti="one")
    assert token_signing.verify(KEY, token, NOW).identity == identity
    assert token_signing.verify(KEY, token, NOW + 599).identity == identity
    with pytest.raises(PermissionDeniedError, match=f"{identity.uri} has expired"):
        token_signing.verify(KEY, token, NOW + 600)


def test_agent_parses_the_claims_without_the_key() -> None:
    assert contract.parse_unverified(TOKEN + "\n") == contract.JoinTokenClaims(ORDERS, HASH, NOW + 600, "one")


def test_token_signed_with_another_key_is_denied() -> None:
    with pytest.raises(PermissionDeniedError, match="signature is invalid"):
        token_signing.verify(bytes(32), TOKEN, NOW)


def test_token_altered_for_another_service_is_denied() -> None:
    head, _, signature = TOKEN.split(".")
    forged = f"{head}.{part(claims(sub='service/payments'))}.{signature}"
    assert contract.parse_unverified(forged).identity.name == "payments"
    with pytest.raises(PermissionDeniedError, match="signature is invalid"):
        token_signing.verify(KEY, forged, NOW)


@pytest.mark.parametrize("algorithm", ["none", "None", "HS384", "RS256", "ES256", 7, None])
def test_token_with_another_algorithm_is_denied(algorithm: object) -> None:
    _, body, signature = TOKEN.split(".")
    for end in ("", signature):
        with pytest.raises(PermissionDeniedError, match=r"malformed|signature"):
            token_signing.verify(KEY, f"{part({'alg': algorithm})}.{body}.{end}", NOW)


def test_token_with_another_hash_and_the_right_key_is_denied() -> None:
    with pytest.raises(PermissionDeniedError, match="malformed"):
        token_signing.verify(KEY, signed(claims(), "HS512", KEY + KEY), NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"sub": "control-plane"},
        {"sub": "service/"},
        {"sub": "service/Orders"},
        {"sub": "service/a/b"},
        {"sub": ["service/orders"]},
        {"sub": None},
        {"iss": ""},
        {"iss": "mesh.local/service/x"},
        {"exp": None},
        {"exp": True},
        {"exp": "9999999999"},
        {"exp": 1e300},
        {"ca_sha256": "ab"},
        {"ca_sha256": None},
    ],
)
def test_signed_but_invalid_claims_are_denied(changed: dict[str, Any]) -> None:
    token = signed(claims(**changed))
    with pytest.raises(PermissionDeniedError, match="malformed"):
        token_signing.verify(KEY, token, NOW)
    with pytest.raises(ValueError, match="not a join token"):
        contract.parse_unverified(token)


def test_length_is_checked_before_parsing() -> None:
    with pytest.raises(PermissionDeniedError, match="too long"):
        token_signing.verify(KEY, TOKEN + "A" * 4096, NOW)
    with pytest.raises(ValueError, match="longer than 4096"):
        contract.parse_unverified("A" * 4097)


@given(st.text(max_size=300) | st.from_regex(r"[\w-]{0,40}\.[\w-]{0,60}\.[\w-]{0,40}"))
def test_garbage_is_denied(text: str) -> None:
    with pytest.raises(PermissionDeniedError):
        token_signing.verify(KEY, text, NOW)
    with pytest.raises(ValueError, match="not a join token"):
        contract.parse_unverified(text)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_payload_that_is_not_an_object_is_denied(body: Any) -> None:
    with pytest.raises(ValueError, match="not a join token"):
        contract.parse_unverified(f"{part({'alg': 'HS256'})}.{part(body)}.AAAA")


@given(st.integers(0, len(TOKEN) - 1), st.characters(codec="ascii"))
def test_altered_character_never_yields_another_identity(position: int, character: str) -> None:
    changed = TOKEN[:position] + character + TOKEN[position + 1 :]
    try:
        assert token_signing.verify(KEY, changed, NOW).identity == ORDERS
    except PermissionDeniedError:
        assert changed != TOKEN


@pytest.mark.parametrize("ttl", [0, -1, token_signing.TTL_LIMIT + 1, float("nan"), float("inf")])
def test_ttl_out_of_range_is_not_minted(ttl: float) -> None:
    with pytest.raises(InputError, match="cannot be valid for"):
        token_signing.mint(KEY, ORDERS, HASH, NOW, ttl=ttl, jti="one")


def test_control_plane_gets_no_token() -> None:
    with pytest.raises(InputError, match="for a service or a gateway"):
        token_signing.mint(KEY, Identity("mesh.local", "control-plane"), HASH, NOW, ttl=60, jti="one")
