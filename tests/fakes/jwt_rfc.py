"""The keys and tokens of RFC 7515 (appendix A) and RFC 7520 (section 3)."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric import ec, rsa

ISSUER = "joe"

_RFC7515_N = (
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS"
    "-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2"
    "CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9"
    "gb54h4FRWyuXpoQ"
)
_RFC7515_D = (
    "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-7YwVol2NXOoAJe46sui395IW_GO"
    "-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBj"
    "udU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU9"
    "1p1DhOVRuOopznQ"
)
_RFC7520_N = (
    "n4EPtAOCc9AlkeQHPzHStgAbgs7bTZLwUBZdR8_KuKPEHLd4rHVTeT-O-XV2jRojdNhxJWTDvNd7nqQ0VEiZQHz_AJmSCpMaJMRBSFKrKb2wq"
    "VwGU_NsYOYL-QtiWN2lbzcEe6XC0dApr5ydQLrHqkHHig3RBordaZ6Aj-oBHqFEHYpPe7Tpe-OfVfHd1E6cS6M1FZcD1NNLYD5lFHpPI9bTwJ"
    "lsde3uhGqC0ZCuEHg8lhzwOHrtIQbS0FVbb9k3-tVTU4fg_3L_vniUFAKwuCLqKnS2BYwdq_mzSnbLY7h_qixoR7jig3__kRhuaxwUkRz5iai"
    "Qkqgc5gHdrNP5zw"
)
_RFC7520_D = (
    "bWUC9B-EFRIo8kpGfh0ZuyGPvMNKvYWNtB_ikiH9k20eT-O1q_I78eiZkpXxXQ0UTEs2LsNRS-8uJbvQ-A1irkwMSMkK1J3XTGgdrhCku9gRl"
    "dY7sNA_AKZGh-Q661_42rINLRCe8W-nZ34ui_qOfkLnK9QWDDqpaIsA-bMwWWSDFu2MUBYwkHTMEzLYGqOe04noqeq1hExBTHBOBdkMXiuFhU"
    "q1BU6l-DqEiWxqg82sXt2h-LMnT3046AOYJoRioz75tSUQfGCshWTBnP5uDjd18kKhyv07lhfSJdrPdM5Plyl21hsFf4L_mHCuoFau7gdsPfH"
    "PxxjVOcOpBrQzwQ"
)

_CLAIMS = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
"""`{"iss":"joe", "exp":1300819380, "http://example.com/is_root":true}`, with line breaks."""

TOKENS: Mapping[str, str] = {
    "RFC 7515 A.2 (RS256)": f"eyJhbGciOiJSUzI1NiJ9.{_CLAIMS}."
    "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUA"
    "r7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO-"
    "-xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_"
    "IoypGlUPQGe77Rw",
    "RFC 7515 A.3 (ES256)": f"eyJhbGciOiJFUzI1NiJ9.{_CLAIMS}."
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    "RFC 7515 A.5 (none)": f"eyJhbGciOiJub25lIn0.{_CLAIMS}.",
}
"""The RFC's own tokens, expired in 2011."""

RFC7520_PAYLOAD = (
    "It\u2019s a dangerous business, Frodo, going out your door. You step onto the road, and if you don't "
    "keep your feet, there\u2019s no knowing where you might be swept off to."
).encode()
"""What the examples of RFC 7520, section 4, sign: no JSON."""


def _number(text: str) -> int:
    return int.from_bytes(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), "big")


def _rsa(n: str, d: str) -> rsa.RSAPrivateKey:
    modulus, exponent, private = _number(n), 65537, _number(d)
    p, q = rsa.rsa_recover_prime_factors(modulus, exponent, private)
    public = rsa.RSAPublicNumbers(exponent, modulus)
    remainders = (rsa.rsa_crt_dmp1(private, p), rsa.rsa_crt_dmq1(private, q), rsa.rsa_crt_iqmp(p, q))
    return rsa.RSAPrivateNumbers(p, q, private, *remainders, public).private_key()


def keys() -> dict[str, tuple[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey]]:
    """The keys by ID, each with its algorithm."""
    p256 = ec.derive_private_key(_number("jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"), ec.SECP256R1())
    return {
        "rfc7515-a2": ("RS256", _rsa(_RFC7515_N, _RFC7515_D)),
        "rfc7515-a3": ("ES256", p256),
        "rfc7520-3.4": ("PS384", _rsa(_RFC7520_N, _RFC7520_D)),
    }
