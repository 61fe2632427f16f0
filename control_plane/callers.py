"""Who calls a port with mutual TLS: the identity in the certificate, and the enrolment that it comes from.

An enrolment is one exchange of a join token for a certificate. Its number is the first part of the serial
number of that certificate and of every one that renews it, so nothing has to be stored to tell to which
enrolment a certificate belongs. An evicted enrolment is refused at every port; its holder must enrol again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from cryptography import x509

from meshwright.control_plane.api.spiffe import Identity, identity_from_auth_context
from meshwright.control_plane.errors import PermissionDeniedError

ENROLMENT_BITS, UNIQUE_BITS = 64, 88
"""Parts of a serial number. Together they fit into the 20 octets of RFC 5280 section 4.1.2.2. The second has
more than the 64 random bits that CAs have to use.
"""

_CERTIFICATE = "x509_pem_cert"
# gRPC's name for the client's certificate in an authentication context.


@dataclass(frozen=True, slots=True)
class Caller:
    """`enrolment`: hexadecimal digits; empty if the certificate cannot be read."""

    identity: Identity
    enrolment: str = ""


@dataclass(frozen=True, slots=True)
class Eviction:
    """An enrolment that is refused: who evicted which proxy of which identity, why and when (epoch seconds).

    `expires`: when the last certificate of the enrolment has expired.
    """

    enrolment: str
    identity: str
    proxy: str
    author: str
    message: str
    time: float
    expires: float

    def __str__(self) -> str:
        return f"{self.proxy} was evicted{self._by}{self._why}: restart it to enrol it again"

    @property
    def failure(self) -> str:
        """Why the proxy is absent, as the health of its service or gateway says it."""
        at = f"{datetime.fromtimestamp(self.time, UTC):%Y-%m-%d %H:%M} UTC"
        return f"evicted{self._by} at {at}{self._why}"

    @property
    def _by(self) -> str:
        return f" by {self.author}" if self.author else ""

    @property
    def _why(self) -> str:
        return f": {self.message}" if self.message else ""


class Evictions:
    """The evictions that are in force."""

    def __init__(self) -> None:
        self._by_enrolment: dict[str, Eviction] = {}
        self._latest: dict[str, Eviction] = {}

    def replace(self, evictions: Iterable[Eviction]) -> tuple[Eviction, ...]:
        """Take over the stored evictions; returns those that are new."""
        previous = self._by_enrolment
        self._by_enrolment = {eviction.enrolment: eviction for eviction in evictions}
        new = tuple(item for key, item in self._by_enrolment.items() if key not in previous)
        latest = {key: item for key, item in self._latest.items() if item.enrolment in self._by_enrolment}
        self._latest = latest | {item.identity: item for item in sorted(new, key=lambda item: item.time)}
        return new

    def check(self, caller: Caller) -> None:
        """Raises PermissionDeniedError for a caller that is evicted."""
        eviction = self._by_enrolment.get(caller.enrolment)
        if eviction is not None:
            raise PermissionDeniedError(str(eviction))
        if self._latest:
            self._latest.pop(caller.identity.uri, None)

    def latest(self, identity: Identity) -> Eviction | None:
        """The last eviction of a proxy of `identity`; None once another enrolment of it has called."""
        return self._latest.get(identity.uri)


def _no_conflict(_: Identity) -> str:
    return ""


class CallerCheck:
    """Identifies callers, and refuses evicted ones and those whose name belongs to the other role."""

    def __init__(
        self,
        trust_domain: str,
        evictions: Evictions | None = None,
        conflict: Callable[[Identity], str] = _no_conflict,
    ) -> None:
        """`conflict`: why an identity must not be used (status.known_nodes.NameConflicts)."""
        self._trust_domain = trust_domain
        self._evictions = evictions or Evictions()
        self._conflict = conflict

    def identify(self, auth_context: Mapping[str, Iterable[bytes]]) -> Caller:
        """The caller with this verified certificate (`grpc.ServicerContext.auth_context()`).

        Raises PermissionDeniedError (see `identity_from_auth_context`), also for an evicted one.
        """
        identity = identity_from_auth_context(auth_context, self._trust_domain)
        certificates = tuple(auth_context.get(_CERTIFICATE, ()))
        caller = Caller(identity, _enrolment(certificates[0]) if certificates else "")
        self._evictions.check(caller)
        if conflict := self._conflict(identity):
            raise PermissionDeniedError(f"{identity.uri}: {conflict}")
        return caller


def new_serial(enrolment: str, unique: int) -> int:
    """A serial number of this enrolment; `unique` are UNIQUE_BITS random bits."""
    return (int(enrolment, 16) << UNIQUE_BITS) | unique


def new_enrolment(random_bits: int) -> str:
    """An enrolment from ENROLMENT_BITS random bits; the first bit is set, so that serials have one length."""
    return f"{random_bits | 1 << (ENROLMENT_BITS - 1):016x}"


def enrolment_of(serial: int) -> str:
    """The enrolment that a serial number names."""
    return f"{serial >> UNIQUE_BITS & ((1 << ENROLMENT_BITS) - 1):016x}"


@lru_cache(maxsize=8192)
def _enrolment(pem: bytes) -> str:
    """Cached: agents and proxies send the same certificate with every call."""
    try:
        return enrolment_of(x509.load_pem_x509_certificate(pem).serial_number)
    except ValueError:
        return ""
