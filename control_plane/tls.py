"""Mutual TLS of a gRPC port: client certificates demanded, the own one replaceable while it serves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import grpc


@dataclass(frozen=True, slots=True)
class TlsCredentials:
    """The server's certificate chain and key, and the roots that clients must come from, all PEM."""

    certificate: bytes
    key: bytes
    roots: bytes

    def __repr__(self) -> str:
        """Without the key."""
        return "Credentials(...)"


class ReloadableCertificates:
    """The TLS material in use, replaceable while the server runs.

    gRPC asks before each handshake, on a thread of its own; None means that nothing changed.
    """

    def __init__(self, credentials: TlsCredentials) -> None:
        self._next: grpc.ServerCertificateConfiguration | None = None
        self._initial = _configuration(credentials)

    def server_credentials(self) -> grpc.ServerCredentials:
        """mTLS credentials that refuse a client without a certificate."""
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._fetch)
        return grpc.dynamic_ssl_server_credentials(self._initial, fetch, True)

    def replace(self, credentials: TlsCredentials) -> None:
        """Use these for connections from now on; open ones go on."""
        self._next = _configuration(credentials)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        configuration, self._next = self._next, None
        return configuration


class LogThrottle:
    """Which refusals were logged lately: a peer that is refused tries again every second.

    `now` is any clock that only goes forward, in seconds.
    """

    INTERVAL = 10.0
    """Seconds between two log lines about the same refusal."""

    LIMIT = 1000
    """Refusals that are remembered."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str], float] = {}

    def should_log(self, peer: str, reason: str, now: float) -> bool:
        """Whether to log it. `peer` is gRPC's `ipv4:HOST:PORT`, of which the port does not count."""
        key = (peer.rpartition(":")[0], reason)
        if now - self._logged.get(key, -self.INTERVAL) < self.INTERVAL:
            return False
        if len(self._logged) >= self.LIMIT:
            self._logged.clear()
        self._logged[key] = now
        return True


def listen_address(bind: str, port: int) -> str:
    """An address as gRPC takes it."""
    return f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}"


def _configuration(credentials: TlsCredentials) -> grpc.ServerCertificateConfiguration:
    pair = (credentials.key, credentials.certificate)
    return grpc.ssl_server_certificate_configuration([pair], credentials.roots)
