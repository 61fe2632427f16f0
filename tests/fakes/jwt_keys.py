"""Key pairs and tokens for tests of JSON Web Tokens, signed as issuers do, or wrongly as attackers do."""

from __future__ import annotations

import base64
import json
import time
from functools import cache
from typing import Any

from cryptography.hazmat.primitives import hashes, hmac, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils

ISSUER, AUDIENCE = "https://users.test", "shop"

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_HASHES: dict[str, hashes.HashAlgorithm] = {
    "256": hashes.SHA256(),
    "384": hashes.SHA384(),
    "512": hashes.SHA512(),
}
_CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


@cache
def key(algorithm: str, name: str = "") -> Key:
    """A private key for an algorithm; each name has its own."""
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm in _CURVES:
        return ec.generate_private_key(_CURVES[algorithm])
    return rsa.generate_private_key(65537, 2048)


def encode(data: bytes) -> str:
    """Base64url without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, size: int = 0) -> str:
    return encode(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


def jwk(private: Key, algorithm: str, kid: str) -> dict[str, Any]:
    """The public key as a JWK."""
    public = private.public_key()
    common = {"alg": algorithm, "kid": kid, "use": "sig"}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e), **common}
    if isinstance(public, ec.EllipticCurvePublicKey):
        point, size = public.public_numbers(), (public.key_size + 7) // 8
        curve = f"P-{public.key_size}"
        return {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size), **common}
    return {"kty": "OKP", "crv": "Ed25519", "x": encode(public.public_bytes_raw()), **common}


def key_set(*keys: dict[str, Any]) -> str:
    """A JWKS."""
    return json.dumps({"keys": list(keys)})


def sign(private: Key, algorithm: str, data: bytes) -> bytes:
    """The signature of an algorithm of RFC 7518 or RFC 8037."""
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return private.sign(data)
    digest = _HASHES[algorithm[2:]]
    if isinstance(private, ec.EllipticCurvePrivateKey):
        r, s = utils.decode_dss_signature(private.sign(data, ec.ECDSA(digest)))
        size = (private.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    return private.sign(data, pss if algorithm.startswith("PS") else padding.PKCS1v15(), digest)


def claims(**changes: Any) -> dict[str, Any]:
    """Claims that are valid now; a change to None leaves a claim out."""
    now = int(time.time())
    merged = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "iat": now, "exp": now + 3600, **changes}
    return {name: value for name, value in merged.items() if value is not None}


def token(private: Key, algorithm: str, payload: dict[str, Any] | bytes, kid: str = "", **header: Any) -> str:
    """A signed token. `header` adds to or replaces members of its header."""
    head = {"alg": algorithm, "typ": "JWT", **({"kid": kid} if kid else {}), **header}
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    text = f"{encode(json.dumps(head).encode())}.{encode(body)}"
    return f"{text}.{encode(sign(private, algorithm, text.encode()))}"


def unsigned(payload: dict[str, Any], algorithm: str = "none") -> str:
    """A token without a signature."""
    head = encode(json.dumps({"alg": algorithm}).encode())
    return f"{head}.{encode(json.dumps(payload).encode())}."


def signed_with_public_key(private: Key, payload: dict[str, Any], kid: str) -> str:
    """HS256 with the public key as the secret: for verifiers that let the token choose the algorithm."""
    head = encode(json.dumps({"alg": "HS256", "kid": kid}).encode())
    text = f"{head}.{encode(json.dumps(payload).encode())}"
    pem = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    code = hmac.HMAC(pem, hashes.SHA256())
    code.update(text.encode())
    return f"{text}.{encode(code.finalize())}"
