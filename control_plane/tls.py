"""Mutual TLS for gRPC ports: client certificates are required, the server certificate is reloadable."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import grpc


@dataclass(frozen=True, slots=True)
class TlsCredentials:
    """The server's certificate chain and key, and the roots of its clients' certificates; all PEM."""

    certificate: bytes
    key: bytes
    roots: bytes

    def __repr__(self) -> str:
        """Without the key."""
        return "TlsCredentials(...)"


class ReloadableCertificates:
    """The server's certificates, which can be replaced while it runs.

    gRPC fetches them before each handshake, on its own thread; None means unchanged.
    """

    def __init__(self, credentials: TlsCredentials) -> None:
        self._next: grpc.ServerCertificateConfiguration | None = None
        self._initial = _configuration(credentials)

    def server_credentials(self) -> grpc.ServerCredentials:
        """mTLS credentials that refuse clients without a certificate."""
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", self._fetch)
        return grpc.dynamic_ssl_server_credentials(self._initial, fetch, True)

    def replace(self, credentials: TlsCredentials) -> None:
        """Use these for new connections; open ones continue."""
        self._next = _configuration(credentials)

    def _fetch(self) -> grpc.ServerCertificateConfiguration | None:
        configuration, self._next = self._next, None
        return configuration


class LogThrottle:
    """Logs a repeated refusal only once per interval: a refused peer retries every second."""

    INTERVAL = 10.0
    """Seconds between two log lines about the same refusal."""

    LIMIT = 1000
    """Refusals that are remembered."""

    def __init__(self) -> None:
        self._logged: dict[tuple[str, str], float] = {}

    def should_log(self, peer: str, reason: str, now: float) -> bool:
        """Whether to log a refusal at `now` (monotonic seconds).

        `peer` is gRPC's `ipv4:HOST:PORT`; the port is ignored.
        """
        key = (peer.rpartition(":")[0], reason)
        if now - self._logged.get(key, -self.INTERVAL) < self.INTERVAL:
            return False
        if len(self._logged) >= self.LIMIT:
            self._logged.clear()
        self._logged[key] = now
        return True


def listen_address(bind: str, port: int) -> str:
    """An address in gRPC's syntax."""
    return f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}"


def _configuration(credentials: TlsCredentials) -> grpc.ServerCertificateConfiguration:
    pair = (credentials.key, credentials.certificate)
    return grpc.ssl_server_certificate_configuration([pair], credentials.roots)
