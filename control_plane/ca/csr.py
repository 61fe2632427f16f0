"""Certificate signing requests: which keys and names the authority accepts."""

from __future__ import annotations

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshwright.control_plane.api import spiffe
from meshwright.control_plane.errors import PermissionDeniedError

PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey

CSR_LIMIT = 16384
"""Characters of PEM, the same limit as SignRequest has; a request for a 4096-bit RSA key has 1,700."""

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


def validate_key(key: object) -> PublicKey:
    """`key` if Envoy can use it; raises PermissionDeniedError.

    Envoy loads ECDSA keys on P-256, P-384 (and P-521) and RSA keys of at least 2048 bits, but no Ed25519 keys
    (source/common/tls/context_impl.cc). RSA keys above 4096 bits, or with an exponent other than 65537 (the
    smallest that FIPS 186-5 allows), only cost the verifier time.
    """
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            raise PermissionDeniedError(f"keys on curve {key.curve.name} are not accepted: use P-256")
        return key
    if isinstance(key, rsa.RSAPublicKey):
        if not 2048 <= key.key_size <= 4096:
            raise PermissionDeniedError(
                f"an RSA key of {key.key_size} bits is not accepted: use P-256, or RSA of 2048 to 4096 bits"
            )
        if key.public_numbers().e != 65537:
            raise PermissionDeniedError("RSA keys with an exponent other than 65537 are not accepted")
        return key
    raise PermissionDeniedError("this kind of key is not accepted: use ECDSA on P-256, or RSA")


def parse_csr(csr_pem: str, identity: spiffe.Identity) -> PublicKey:
    """The public key of a request from `identity`; raises PermissionDeniedError.

    The request's signature proves that the sender holds the private key. A requested URI must be that of the
    identity. The rest (subject, other names, extensions) is ignored: the authority decides what it certifies.
    """
    if len(csr_pem) > CSR_LIMIT:
        raise PermissionDeniedError(f"the certificate signing request is longer than {CSR_LIMIT} characters")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        key = validate_key(request.public_key())
        is_signed = request.is_signature_valid
        uris = _requested_uris(request)
    except _UNREADABLE:
        raise PermissionDeniedError(
            "the certificate signing request cannot be read: send PEM (PKCS #10)"
        ) from None
    if not is_signed:
        raise PermissionDeniedError("the certificate signing request is not signed by its own key")
    for uri in uris:
        if uri != identity.uri:
            raise PermissionDeniedError(
                f"the certificate signing request is for {uri!r:.300}, not for {identity.uri}"
            )
    return key


def _requested_uris(request: x509.CertificateSigningRequest) -> list[str]:
    try:
        extension = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.UniformResourceIdentifier)
