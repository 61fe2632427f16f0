"""Certificates in files of a gateway's node: how listeners name them, and how the agent serves them to Envoy.

Private keys never leave their node. A listener names a secret after the files in which it is. Envoy asks
the agent beside it for this name (SDS over REST, on the agent's socket), and the agent reads and checks the
files. So the control plane knows file names only, and keys are in no revision, no store and no API. Requests
are held until the secret changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

SECRETS_PATH = "/v3/discovery:secrets"
"""The path of SDS over REST (xDS protocol, "REST-JSON polling subscriptions")."""

HOLD_SECONDS, REQUEST_TIMEOUT, RETRY_DELAY = 20.0, 30.0, 1.0
"""Seconds: how long the agent holds a request while nothing changes, how long Envoy waits for its answer, and
how long until it asks again, to which Envoy adds up to as much."""

FIRST_ANSWER_TIMEOUT = 3.0
"""Seconds that a new listener waits for its secrets. The agent answers at once, also if it has none: then
connections that need the secret are closed, and everything else works."""

_PREFIX = "certificate/"


@dataclass(frozen=True, slots=True)
class CertificateFiles:
    """The files of the Certificate `name`: `certificate` and `key`, or `cas` alone, which verify clients.

    Relative names are those of the node's folder of certificates. `name` is several names, joined by +, if
    the CAs of several Certificates are one secret.
    """

    name: str
    certificate: str = ""
    key: str = ""
    cas: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The Certificates."""
        return tuple(self.name.split("+"))

    @property
    def secret(self) -> str:
        """The secret's name: `certificate/shop?certificate=shop.crt&key=shop.key`."""
        pair = [("certificate", self.certificate), ("key", self.key)] if self.certificate else []
        return f"{_PREFIX}{self.name}?{urlencode([*pair, *(('ca', file) for file in self.cas)])}"


def joined(cas: Iterable[CertificateFiles]) -> CertificateFiles:
    """Several CAs as one secret: Envoy takes one for all that verify a connection."""
    members = tuple(cas)
    return CertificateFiles(
        "+".join(files.name for files in members), cas=tuple(file for files in members for file in files.cas)
    )


def parse_secret_name(secret: str) -> CertificateFiles:
    """The files that a secret's name stands for; raises ValueError for a name of another form."""
    path, _, query = secret.partition("?")
    fields = parse_qsl(query, strict_parsing=True)
    keys = [key for key, _ in fields]
    if not path.startswith(_PREFIX) or not (keys == ["certificate", "key"] or set(keys) == {"ca"}):
        raise ValueError(f"{secret!r} names no certificate")
    values = tuple(value for _, value in fields)
    values = tuple(value for _, value in fields)
    name = path.removeprefix(_PREFIX)
    if "ca" in keys:
        return CertificateFiles(name, cas=values)
    return CertificateFiles(name, certificate=values[0], key=values[1])
