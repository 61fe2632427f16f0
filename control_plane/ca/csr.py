"""Certificate signing requests from peers: what key may be certified, and for whom."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshwright.control_plane.api import spiffe
from meshwright.control_plane.errors import PermissionDeniedError

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

CSR_LIMIT = 16384
"""Characters of PEM, as api.types.SignRequest has it; a request for a 4096-bit RSA key has 1,700."""

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def validate_key(key: object) -> PublicKey:
    """`key` when Envoy can use it; raises RefusedError.

    Envoy loads ECDSA keys on P-256, P-384 (and P-521) and RSA of 2048 bits or more, and no Ed25519 (its
    source/common/tls/context_impl.cc). Above 4096 bits RSA only costs the verifier time, and so does an
    exponent other than 65537 (the least that FIPS 186-5 allows).
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            raise PermissionDeniedError(f"a key on curve {key.curve.name} is refused: use P-256")
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 4096:
            raise PermissionDeniedError(
                f"an RSA key of {key.key_size} bits is refused: use P-256, or RSA of 2048 to 4096 bits"
            )
        if key.public_numbers().e != 65537:
            raise PermissionDeniedError("an RSA key with an exponent other than 65537 is refused")
        return key
    raise PermissionDeniedError("this kind of key is refused: use ECDSA on P-256 or RSA")


def parse_csr(csr_pem: str, identity: spiffe.Identity) -> PublicKey:
    """The public key of a request that `identity` may have certified; raises RefusedError.

    The request's signature proves that its sender holds the key. A URI it asks for must be the identity's;
    all else it asks for (subject, other names, extensions) is ignored, for the authority decides what it
    certifies.
    """
    if len(csr_pem) > CSR_LIMIT:
        raise PermissionDeniedError(f"the certificate signing request is longer than {CSR_LIMIT} characters")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = validate_key(request.public_key())
        signed = request.is_signature_valid
        names = _requested_uris(request)
    except _UNREADABLE:
        raise PermissionDeniedError(
            "the certificate signing request cannot be read: send PEM (PKCS #10)"
        ) from None
    if not signed:
        raise PermissionDeniedError("the certificate signing request's signature is not of its key")
    for uri in names:
        if uri != identity.uri:
            raise PermissionDeniedError(
                f"the certificate signing request is for {uri!r:.300}, not for {identity.uri}"
            )
    return key


def _requested_uris(request: x509.CertificateSigningRequest) -> list[str]:
    try:
        asked = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return asked.value.get_values_for_type(x509.UniformResourceIdentifier)
